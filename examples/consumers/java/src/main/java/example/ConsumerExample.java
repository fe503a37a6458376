package example;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.nimbusds.jose.EncryptionMethod;
import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWEAlgorithm;
import com.nimbusds.jose.JWEObject;
import com.nimbusds.jose.crypto.DirectDecrypter;
import com.nimbusds.jose.jwk.JWKSet;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.text.ParseException;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.w3c.dom.Document;
import org.xml.sax.SAXException;

/**
 * Reads concur-bridge's events, fetches what they are about from Concur, prints a line for each.
 *
 * <p>What matters in a consumer of the bridge, and is shown here:
 *
 * <ul>
 *   <li>{@code isolation.level=read_committed}: the bridge publishes in transactions; what it aborts must not be seen.
 *   <li>Done once per ({@code source}, {@code id}): offsets are committed after the work, so a crash repeats the last
 *       events. Keep the pair where the work is kept, best in the same transaction; here that is a small file.
 *   <li>The OAuth token comes sealed. It is opened with the key file of the bridge, used, and never printed.
 *   <li>A URL is fetched only from {@code objectUri}, which the bridge has checked. {@code objectUriUntrusted} may lead
 *       anywhere.
 * </ul>
 */
public final class ConsumerExample {
  private static final Duration TIMEOUT = Duration.ofSeconds(10);
  private static final Map<String, String> DEFAULTS =
      Map.of(
          "bootstrap", "127.0.0.1:9092",
          "key-file", "keys/token.key",
          "topics", "concur.itinerary,concur.fop,concur.profile",
          "group", "concur-example-java",
          "base-url", "https://www.concursolutions.com",
          "base-url-override", "",
          "seen-file", "seen.txt",
          "count", "");

  private final Map<String, String> options;
  private final JWKSet keys;
  private final Seen seen;
  private final ObjectMapper json = new ObjectMapper();
  // A redirect would carry the token to another host: the default policy follows none.
  private final HttpClient http = HttpClient.newBuilder().connectTimeout(TIMEOUT).build();

  private ConsumerExample(Map<String, String> options) throws IOException, ParseException {
    this.options = options;
    this.keys = JWKSet.load(Path.of(options.get("key-file")).toFile());
    this.seen = new Seen(Path.of(options.get("seen-file")));
  }

  /** Runs until {@code --count} events are done, or the process is asked to end. */
  public static void main(String[] arguments) throws Exception {
    new ConsumerExample(parse(arguments)).run();
  }

  private void run() throws Exception {
    Map<String, Object> config =
        Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, options.get("bootstrap"),
            ConsumerConfig.GROUP_ID_CONFIG, options.get("group"),
            ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
            ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
    long wanted = options.get("count").isEmpty() ? Long.MAX_VALUE : Long.parseLong(options.get("count"));
    long done = 0;
    try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      Runtime.getRuntime().addShutdownHook(new Thread(consumer::wakeup));
      consumer.subscribe(List.of(options.get("topics").split(",")));
      while (done < wanted) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
          if (done >= wanted) {
            break;
          }
          JsonNode event = json.readTree(record.value());
          if (!seen.has(event)) {
            String subject = event.path("subject").asText("-");
            System.out.println(String.join(" | ", event.path("type").asText(), subject, details(event)));
            seen.add(event);
            done++;
          }
          var partition = new TopicPartition(record.topic(), record.partition());
          consumer.commitSync(Map.of(partition, new OffsetAndMetadata(record.offset() + 1)));
        }
      }
    } catch (WakeupException asked) {
      // The end was asked for.
    }
  }

  /** What Concur says about the event's subject, or why it was not asked. */
  private String details(JsonNode event) throws InterruptedException, ParseException, JOSEException {
    JsonNode data = event.path("data");
    Optional<String> token = openToken(data.path("token"));
    if (token.isEmpty()) {
      return "no token in the event: ask with your application's own";
    }
    String type = event.path("type").asText();
    JsonNode user = data.path("user");
    try {
      if (type.startsWith("com.concur.itinerary.") && data.hasNonNull("objectUri")) {
        Document trip = get(URI.create(data.path("objectUri").asText()), token.get());
        return "%s, from %s to %s"
            .formatted(text(trip, "TripName"), text(trip, "StartDateLocal"), text(trip, "EndDateLocal"));
      }
      if (type.startsWith("com.concur.profile.")) {
        // Without a user it is the token's own.
        String id = URLEncoder.encode(user.path("idValue").asText(), StandardCharsets.UTF_8);
        String query = user.isObject() ? "?userid_type=" + user.path("idType").asText() + "&userid_value=" + id : "";
        URI uri = URI.create(options.get("base-url") + "/api/travelprofile/v2.0/profile" + query);
        Document profile = get(uri, token.get());
        return "%s %s of %s"
            .formatted(text(profile, "FirstName"), text(profile, "LastName"), text(profile, "CompanyName"));
      }
    } catch (IOException | SAXException | ParserConfigurationException error) {
      return "no details: " + error.getMessage();
    }
    return "nothing to fetch";
  }

  /** The token in clear, in whichever form {@code tokens.publish} gave it. */
  private Optional<String> openToken(JsonNode token) throws ParseException, JOSEException {
    if (!token.hasNonNull("jwe")) {
      return Optional.ofNullable(token.path("value").textValue());
    }
    JWEObject sealed = JWEObject.parse(token.path("jwe").asText());
    var header = sealed.getHeader();
    boolean isOurs =
        header.getAlgorithm().equals(JWEAlgorithm.DIR) && header.getEncryptionMethod().equals(EncryptionMethod.A256GCM);
    var key = keys.getKeyByKeyId(header.getKeyID());
    if (!isOurs || key == null) {
      throw new JOSEException("no key of the key file fits: kid " + header.getKeyID());
    }
    sealed.decrypt(new DirectDecrypter(key.toOctetSequenceKey()));
    return Optional.of(sealed.getPayload().toString());
  }

  /** Fetches a document of Concur with the token of the event. */
  private Document get(URI uri, String token)
      throws IOException, InterruptedException, SAXException, ParserConfigurationException {
    String override = options.get("base-url-override");
    String query = uri.getRawQuery() == null ? "" : "?" + uri.getRawQuery();
    URI target = override.isEmpty() ? uri : URI.create(override).resolve(uri.getRawPath() + query);
    HttpRequest request =
        HttpRequest.newBuilder(target)
            .timeout(TIMEOUT)
            .header("Authorization", "OAuth " + token)
            .header("Accept", "application/xml")
            .build();
    HttpResponse<byte[]> answer = http.send(request, HttpResponse.BodyHandlers.ofByteArray());
    if (answer.statusCode() != 200) {
      throw new IOException("Concur answered " + answer.statusCode());
    }
    var factory = DocumentBuilderFactory.newInstance();
    factory.setNamespaceAware(true);
    factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
    return factory.newDocumentBuilder().parse(new ByteArrayInputStream(answer.body()));
  }

  /** The text of the first element of a name, in any namespace. */
  private static String text(Document document, String name) {
    var found = document.getElementsByTagNameNS("*", name).item(0);
    return found == null ? "?" : found.getTextContent();
  }

  private static Map<String, String> parse(String[] arguments) {
    var options = new HashMap<>(DEFAULTS);
    for (int index = 0; index < arguments.length; index += 2) {
      String name = arguments[index].replaceFirst("^--", "");
      if (!DEFAULTS.containsKey(name) || index + 1 == arguments.length) {
        System.err.println("usage: --NAME VALUE …, names: " + String.join(", ", DEFAULTS.keySet()));
        System.exit(2);
      }
      options.put(name, arguments[index + 1]);
    }
    return options;
  }

  /** Remembers which events are done. */
  private static final class Seen {
    private final Path file;
    private final Set<String> pairs = new HashSet<>();

    Seen(Path file) throws IOException {
      this.file = file;
      if (Files.exists(file)) {
        pairs.addAll(Files.readAllLines(file));
      }
    }

    boolean has(JsonNode event) {
      return pairs.contains(pair(event));
    }

    void add(JsonNode event) throws IOException {
      pairs.add(pair(event));
      Files.writeString(file, pair(event) + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private static String pair(JsonNode event) {
      return Arrays.asList(event.path("source").toString(), event.path("id").toString()).toString();
    }
  }
}
