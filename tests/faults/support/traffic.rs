//! What is sent, and what must come out: both a pure function of a [`Tag`], so that the log of a sender need not keep
//! bodies and the oracle can tell an altered event from a true one.
//!
//! The tag travels in the `Context` element, which every stream's `data` carries, and in an ESS event's `facts`.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// The form of a postback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// Company level, v1: keyed by trip.
    Itinerary,
    /// Company level, v1: keyed by user.
    Profile,
    /// Company level, v1: keyed by the token's fingerprint.
    Fop,
    /// An ESS v4 webhook about a trip; the sender repeats it until it is answered 2xx, as Concur does.
    Ess,
}

impl Form {
    const ALL: [Self; 4] = [Self::Itinerary, Self::Profile, Self::Fop, Self::Ess];

    fn letter(self) -> char {
        match self {
            Self::Itinerary => 'i',
            Self::Profile => 'p',
            Self::Fop => 'f',
            Self::Ess => 'e',
        }
    }
}

/// The key that a sender numbers by: one worker sends it, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The form of all its postbacks.
    pub form: Form,
    /// The run of a sender, so that several loads of one line never collide.
    pub run: u32,
    /// The worker of that run.
    pub worker: u32,
    /// The key of that worker.
    pub index: u32,
}

/// One postback: the `n`-th of its key, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// Its key.
    pub key: Key,
    /// Its number.
    pub n: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}-{}-{}",
            self.form.letter(),
            self.run,
            self.worker,
            self.index
        )
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.key, self.n)
    }
}

impl FromStr for Tag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (key, n) = text.split_once('#').ok_or(())?;
        let form = Form::ALL
            .into_iter()
            .find(|form| key.starts_with(form.letter()))
            .ok_or(())?;
        let mut parts = key[1..]
            .split('-')
            .map(|part| part.parse::<u32>().map_err(drop));
        let mut part = || parts.next().unwrap_or(Err(()));
        let key = Key {
            form,
            run: part()?,
            worker: part()?,
            index: part()?,
        };
        Ok(Self {
            key,
            n: n.parse().map_err(drop)?,
        })
    }
}

/// The OAuth token that postbacks of this key carry.
pub fn token(key: Key) -> String {
    format!("tok-{key}-S3cret")
}

/// What must be in the event of `tag`, apart from its id and time, the sealed token, and the key of a fop.
pub struct Expected {
    /// The CloudEvents `type`.
    pub kind: &'static str,
    /// The CloudEvents `source`.
    pub source: &'static str,
    /// The CloudEvents `subject`, and the Kafka key; absent for fop, whose key is the fingerprint.
    pub subject: Option<String>,
    /// Members that `data` must have with these very values.
    pub data: Value,
    /// The event's id, where the sender gives it.
    pub id: Option<String>,
}

const DATE: &str = "2013-02-13T08:12:35";

fn trip(key: Key) -> String {
    format!("trip-{key}")
}

fn user(key: Key) -> String {
    format!("{key}@example.com")
}

/// The kind of the n-th change of a trip, as v1, ESS and the CloudEvents type say it.
fn change(n: u32) -> (&'static str, &'static str, &'static str) {
    match n {
        1 => ("CREATE", "ItineraryCreated", "com.concur.itinerary.created"),
        n if n % 7 == 0 => (
            "CANCEL",
            "ItineraryCancelled",
            "com.concur.itinerary.cancelled",
        ),
        _ => ("UPDATE", "ItineraryUpdated", "com.concur.itinerary.updated"),
    }
}

/// The id that Concur gives the n-th ESS event of a key.
fn ess_id(tag: Tag) -> String {
    let key = tag.key;
    format!(
        "{:08x}-{:04x}-4000-8000-{:04x}{:08x}",
        key.run,
        key.worker & 0xffff,
        key.index & 0xffff,
        tag.n
    )
}

/// What must come out for `tag`.
pub fn expected(tag: Tag) -> Expected {
    let Tag { key, n } = tag;
    let context = tag.to_string();
    let user_of = json!({ "idType": "login", "idValue": user(key) });
    match key.form {
        Form::Itinerary => {
            let (event_type, _, kind) = change(n);
            Expected {
                kind,
                source: "/concur/v1/company",
                subject: Some(trip(key)),
                data: json!({
                    "eventType": event_type, "eventDateTime": DATE, "tripId": trip(key), "objectUri": object_uri(key),
                    "context": context, "user": user_of,
                }),
                id: None,
            }
        }
        Form::Profile => Expected {
            kind: "com.concur.profile.updated",
            source: "/concur/v1/company",
            subject: Some(user(key)),
            data: json!({ "eventType": "UPDATE", "eventDateTime": DATE, "context": context, "user": user_of }),
            id: None,
        },
        Form::Fop => Expected {
            kind: "com.concur.fop.updated",
            source: "/concur/v1/company",
            subject: None,
            data: json!({ "eventType": "UPDATE", "eventDateTime": DATE, "context": context }),
            id: None,
        },
        Form::Ess => {
            let (_, event_type, kind) = change(n);
            Expected {
                kind,
                source: "/concur/ess/v4/public.concur.travel.itinerary",
                subject: Some(trip(key)),
                data: json!({
                    "eventType": event_type, "eventDateTime": ESS_DATE, "tripId": trip(key), "objectUri": object_uri(key),
                    "correlationId": "corr-1", "facts": facts(tag),
                }),
                id: Some(ess_id(tag)),
            }
        }
    }
}

const ESS_DATE: &str = "2026-11-24T00:00:00.000Z";

fn object_uri(key: Key) -> String {
    format!(
        "https://www.concursolutions.com/api/travel/trip/v1.1/{}",
        trip(key)
    )
}

fn facts(tag: Tag) -> Value {
    json!({
        "id": trip(tag.key), "companyId": "c-1", "userId": user(tag.key), "tag": tag.to_string(),
        "hrefs": { "v4": object_uri(tag.key) },
    })
}

/// The whole HTTP request of `tag`. An element that no format defines makes a v1 body at least `size` bytes long, and
/// its event with it.
pub fn request(tag: Tag, size: usize) -> Vec<u8> {
    let Tag { key, n } = tag;
    let (token, user) = (token(key), user(key));
    let (path, body) = match key.form {
        Form::Itinerary => (
            format!("/postback?type=itinerary&oauth_token_key={token}&userid_type=login&userid_value={user}"),
            notification("ITINERARY", change(n).0, tag, size),
        ),
        Form::Profile => (
            format!("/postback?type=profile&oauth_token_key={token}&userid_type=login&userid_value={user}"),
            notification("PROFILE", "UPDATE", tag, size),
        ),
        Form::Fop => (
            format!("/postback?type=FOP&oauth_token_key={token}"),
            notification("FOP", "UPDATE", tag, size),
        ),
        Form::Ess => (
            "/ess".to_owned(),
            json!({
                "id": ess_id(tag), "correlationId": "corr-1", "eventType": change(n).1,
                "topic": "public.concur.travel.itinerary", "timeStamp": ESS_DATE, "facts": facts(tag),
            })
            .to_string(),
        ),
    };
    let kind = if key.form == Form::Ess {
        "application/json"
    } else {
        "application/xml"
    };
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: bridge\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn notification(object: &str, event: &str, tag: Tag, size: usize) -> String {
    let key = tag.key;
    let trip = match key.form {
        Form::Itinerary => format!(
            "<ObjectURI>{}</ObjectURI><TripId>{}</TripId>",
            object_uri(key),
            trip(key)
        ),
        Form::Profile | Form::Fop | Form::Ess => String::new(),
    };
    let open = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Notification><ObjectType>{object}</ObjectType>{trip}\
         <EventDateTime>{DATE}</EventDateTime><EventType>{event}</EventType><Context>{tag}</Context>"
    );
    let close = "</Notification>";
    let frame = "<Padding></Padding>".len();
    if size <= open.len() + close.len() + frame {
        return open + close;
    }
    let padding = "x".repeat(size - open.len() - close.len() - frame);
    format!("{open}<Padding>{padding}</Padding>{close}")
}
