package example;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.nimbusds.jose.EncryptionMethod;
import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWEAlgorithm;
import com.nimbusds.jose.JWEObject;
import com.nimbusds.jose.crypto.DirectDecrypter;
import com.nimbusds.jose.jwk.JWKSet;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URISyntaxException;
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
import java.util.concurrent.Callable;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.TimeUnit;
import javax.xml.parsers.DocumentBuilderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.w3c.dom.Document;
import org.xml.sax.helpers.DefaultHandler;

/**
 * Reads concur-bridge's events, fetches what they are about from Concur, prints a line for each.
 *
 * <p>What matters in a consumer of the bridge, and is shown here:
 *
 * <ul>
 *   <li>{@code isolation.level=read_committed}: the bridge publishes in transactions; what it aborts must not be seen.
 *   <li>Done once per ({@code source}, {@code id}): offsets are committed after the work, so a crash repeats the last
 *       events. Keep the pair where the work is kept, best in the same transaction; here that is a small file.
 *   <li>The OAuth token comes sealed. It is opened with the key file of the bridge, used, and never printed: whoever
 *       may post chooses it, and libraries quote what they refuse, so of an unexpected exception only the class is
 *       told.
 *   <li>A URL is fetched only from {@code objectUri}, which the bridge has checked. {@code objectUriUntrusted} may lead
 *       anywhere.
 *   <li>No event stops the others. What cannot be fetched is told and left behind; keep it aside where it matters.
 * </ul>
 */
public final class ConsumerExample {
  private static final Duration TIMEOUT = Duration.ofSeconds(10);
  private static final int MAX_ANSWER_BYTES = 10 * 1024 * 1024; // a trip has kilobytes
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
          Optional<JsonNode> read = readEvent(record.value());
          if (read.isEmpty()) {
            printLine("?", "-", "no event: %s %d@%d".formatted(record.topic(), record.partition(), record.offset()));
          } else if (!seen.has(read.get())) {
            JsonNode event = read.get();
            printLine(event.path("type").asText(), event.path("subject").asText("-"), details(event));
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

  /** The event, or nothing when the value is none, as what others than the bridge write to the topic. */
  private Optional<JsonNode> readEvent(String value) {
    try {
      JsonNode event = value == null ? MissingNode.getInstance() : json.readTree(value);
      boolean isEvent = List.of("source", "id", "type").stream().allMatch(name -> event.path(name).isTextual());
      boolean isNamed = !event.has("subject") || event.path("subject").isTextual();
      return isEvent && isNamed && event.path("data").isObject() ? Optional.of(event) : Optional.empty();
    } catch (IOException notJson) {
      return Optional.empty();
    }
  }

  /** What Concur says about the event's subject, or why it was not asked. */
  private String details(JsonNode event) throws InterruptedException {
    JsonNode data = event.path("data");
    String type = event.path("type").asText();
    try {
      Optional<String> token = openToken(data.path("token"));
      if (token.isEmpty()) {
        return "no token in the event: ask with your application's own";
      }
      if (type.startsWith("com.concur.itinerary.") && data.hasNonNull("objectUri")) {
        return trip(data.path("objectUri").asText(), token.get());
      }
      if (type.startsWith("com.concur.profile.")) {
        return profile(data.path("user"), token.get());
      }
    } catch (InterruptedException asked) {
      throw asked;
    } catch (NoDetails reason) {
      return "no details: " + reason.getMessage();
    } catch (Exception error) {
      return "no details: " + error.getClass().getSimpleName();
    }
    return "nothing to fetch";
  }

  private String trip(String objectUri, String token) throws Exception {
    Document trip = get(objectUri, token);
    return "%s, from %s to %s"
        .formatted(text(trip, "TripName"), text(trip, "StartDateLocal"), text(trip, "EndDateLocal"));
  }

  private String profile(JsonNode user, String token) throws Exception {
    // Without a user it is the token's own.
    String query =
        user.isObject()
            ? "?userid_type=%s&userid_value=%s".formatted(encoded(user.path("idType")), encoded(user.path("idValue")))
            : "";
    Document profile = get(options.get("base-url") + "/api/travelprofile/v2.0/profile" + query, token);
    return "%s %s of %s"
        .formatted(text(profile, "FirstName"), text(profile, "LastName"), text(profile, "CompanyName"));
  }

  private static String encoded(JsonNode text) {
    return URLEncoder.encode(text.asText(), StandardCharsets.UTF_8);
  }

  /** The token in clear, in whichever form {@code tokens.publish} gave it. */
  private Optional<String> openToken(JsonNode token) throws NoDetails {
    if (!token.hasNonNull("jwe")) {
      return Optional.ofNullable(token.path("value").textValue());
    }
    try {
      JWEObject sealed = JWEObject.parse(token.path("jwe").asText());
      var header = sealed.getHeader();
      var key = keys.getKeyByKeyId(header.getKeyID());
      if (key != null
          && header.getAlgorithm().equals(JWEAlgorithm.DIR)
          && header.getEncryptionMethod().equals(EncryptionMethod.A256GCM)) {
        sealed.decrypt(new DirectDecrypter(key.toOctetSequenceKey()));
        return Optional.of(sealed.getPayload().toString());
      }
    } catch (ParseException | JOSEException | RuntimeException notOurs) {
      // As where no key fits.
    }
    throw new NoDetails("the key file does not open the token");
  }

  /** Fetches a document of Concur with the token of the event. */
  private Document get(String url, String token) throws Exception {
    if (!token.matches("[!-~]+")) {
      throw new NoDetails("the token is no header value");
    }
    HttpRequest request =
        HttpRequest.newBuilder(target(url))
            .timeout(TIMEOUT)
            .header("Authorization", "OAuth " + token)
            .header("Accept", "application/xml")
            .build();
    HttpResponse<InputStream> answer = http.send(request, HttpResponse.BodyHandlers.ofInputStream());
    byte[] body;
    try (InputStream stream = answer.body()) {
      if (answer.statusCode() != 200) {
        throw new NoDetails("Concur answered " + answer.statusCode());
      }
      // The request's own timeout ends with the head.
      Callable<byte[]> reading = () -> stream.readNBytes(MAX_ANSWER_BYTES + 1);
      body = ForkJoinPool.commonPool().submit(reading).get(TIMEOUT.toSeconds(), TimeUnit.SECONDS);
    }
    if (body.length > MAX_ANSWER_BYTES) {
      throw new NoDetails("Concur's answer is too long");
    }
    var factory = DocumentBuilderFactory.newInstance();
    factory.setNamespaceAware(true);
    factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
    var builder = factory.newDocumentBuilder();
    builder.setErrorHandler(new DefaultHandler()); // the builder's own prints
    return builder.parse(new ByteArrayInputStream(body));
  }

  /** Where a URL is fetched. Its path may begin with {@code //}: resolving it would lead to another host. */
  private URI target(String url) throws NoDetails {
    try {
      var uri = new URI(url);
      if (options.get("base-url-override").isEmpty()) {
        return uri;
      }
      var override = new URI(options.get("base-url-override"));
      String query = uri.getRawQuery() == null ? "" : "?" + uri.getRawQuery();
      return new URI(override.getScheme() + "://" + override.getRawAuthority() + uri.getRawPath() + query);
    } catch (URISyntaxException wrong) {
      throw new NoDetails("the URL is none");
    }
  }

  /** The text of the first element of a name, in any namespace. */
  private static String text(Document document, String name) {
    var found = document.getElementsByTagNameNS("*", name).item(0);
    return found == null ? "?" : found.getTextContent();
  }

  /** One line, whatever the fields hold: a line feed in one would begin another event. */
  private static void printLine(String... fields) {
    System.out.println(String.join(" | ", fields).replaceAll("[\\x00-\\x1f\\x7f-\\x9f]", " "));
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

  /** Why there are none, in words that quote neither request nor token. */
  private static final class NoDetails extends Exception {
    NoDetails(String reason) {
      super(reason);
    }
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
      byte[] line = (pair(event) + "\n").getBytes(StandardCharsets.UTF_8); // other than writeString, never refused
      Files.write(file, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private static String pair(JsonNode event) {
      return Arrays.asList(event.path("source").toString(), event.path("id").toString()).toString();
    }
  }
}
