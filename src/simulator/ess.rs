//! News as ESS v4 webhooks, in the words of the pages Concur Itinerary Event, Travel Change Event and Identity Change
//! Event.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::dice::Dice;
use super::signing::SigningKey;
use super::story::{News, TripChange, What};
use super::v1::{Malformation, Message};
use super::world::World;

/// A topic that the simulator has news of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Trips.
    Itinerary,
    /// Travel profiles.
    TravelProfile,
    /// Identities: profiles without what concerns travel.
    Identity,
}

impl Topic {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Itinerary, Self::TravelProfile, Self::Identity];

    /// The name under which it is subscribed to.
    pub fn name(self) -> &'static str {
        match self {
            Self::Itinerary => "public.concur.travel.itinerary",
            Self::TravelProfile => "public.concur.user.travel.profile",
            Self::Identity => "public.concur.user.profile.identity",
        }
    }

    /// The event types that it has.
    pub(super) fn event_types(self) -> &'static [&'static str] {
        match self {
            Self::Itinerary => &["ItineraryCreated", "ItineraryUpdated", "ItineraryCancelled"],
            Self::TravelProfile => &["TravelProfileUpdated"],
            Self::Identity => &["IdentityProfileUpdated"],
        }
    }
}

/// The webhook of a piece of news. It is to be signed once it is as it will be sent.
pub(super) fn message(world: World, news: &News, topic: Topic, object_base: &str) -> Message {
    let user = news.traveller.uuid;
    let company = world.company(news.traveller.company).uuid;
    let (id, facts) = match (&news.what, topic) {
        (What::Trip(trip, _), _) => {
            let href = format!("{object_base}/travel/v4/trips/{}", trip.uuid);
            let facts = json!({ "id": trip.uuid, "userId": user, "companyId": company, "hrefs": { "v4": href } });
            (news.id.to_string(), facts)
        }
        // As sampled: 32 digits without hyphens.
        (What::Payment | What::Profile, Topic::Itinerary | Topic::TravelProfile) => {
            let facts = json!({
                "loginId": news.traveller.login,
                "originator": "-98011",
                "companyId": company,
                "userId": user,
                "attributes": ["familyName", "customFields"],
            });
            (news.id.simple().to_string(), facts)
        }
        // As sampled: no UUID at all.
        (What::Payment | What::Profile, Topic::Identity) => {
            let facts = json!({
                "originator": "com.concur.profile",
                "companyId": company,
                "userId": user,
                "userHref": format!("{object_base}/profile/identity/v4/Users/{user}"),
                "attributes": ["nickName", "name.familyName"],
            });
            (format!("updated-{user}-{}", news.number), facts)
        }
    };
    let mut envelope = json!({
        "id": id,
        "correlationId": news.correlation_id,
        "eventType": event_type(news, topic),
        "topic": topic_as_sent(news, topic),
        "timeStamp": news.at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
        "facts": facts,
    });
    if topic != Topic::Itinerary {
        envelope["subtopic"] = Value::from(user.to_string());
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A UUID is always a header value.
    if let Ok(value) = HeaderValue::from_str(&news.correlation_id.to_string()) {
        headers.insert(HeaderName::from_static("concur-correlationid"), value);
    }
    Message {
        query: String::new(),
        headers,
        body: envelope.to_string().into(),
    }
}

/// The event type of a piece of news; what filters are applied to.
pub(super) fn event_type(news: &News, topic: Topic) -> &'static str {
    let types = topic.event_types();
    match &news.what {
        What::Trip(_, TripChange::Updated(_)) => types[1],
        What::Trip(_, TripChange::Cancelled) => types[2],
        What::Trip(_, TripChange::Created) | What::Payment | What::Profile => types[0],
    }
}

/// The identity page's own samples name another topic than the page does; every other event here does so too.
fn topic_as_sent(news: &News, topic: Topic) -> &'static str {
    match topic {
        Topic::Identity if news.number.is_multiple_of(2) => "public.concur.profile.identity",
        other => other.name(),
    }
}

/// Signs a message as it is.
pub(super) fn sign(mut message: Message, key: &SigningKey) -> Message {
    if let Some(value) = key
        .sign(&message.body)
        .and_then(|signature| HeaderValue::from_str(&signature).ok())
    {
        message
            .headers
            .insert(HeaderName::from_static("concur-signature"), value);
    }
    message
}

/// A way to get a webhook wrong that the bridge answers with 400.
pub(super) fn malformation(dice: &mut Dice) -> Malformation {
    *dice.pick(&[Malformation::TruncatedBody, Malformation::BadUtf8])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::story::{Plot, Story};
    use super::*;

    fn sent(plot: Plot, topic: Topic) -> Value {
        let world = World::new(5);
        let noon = jiff::civil::datetime(2026, 1, 5, 12, 0, 0, 0);
        let news = Story::new(world, Arc::default()).next((), plot, noon);
        let message = message(world, &news, topic, "https://us.api.concursolutions.com");
        assert_eq!(
            message.headers["concur-correlationid"],
            news.correlation_id.to_string()
        );
        serde_json::from_slice(&message.body).unwrap()
    }

    #[test]
    fn webhooks_have_the_members_that_the_pages_document() {
        let trip = sent(Plot::Trip, Topic::Itinerary);
        assert_eq!(trip["eventType"], "ItineraryCreated");
        assert_eq!(trip["topic"], "public.concur.travel.itinerary");
        assert_eq!(trip["timeStamp"], "2026-01-05T12:00:00.000Z");
        let href = trip["facts"]["hrefs"]["v4"].as_str().unwrap();
        let id = trip["facts"]["id"].as_str().unwrap();
        assert_eq!(
            href,
            format!("https://us.api.concursolutions.com/travel/v4/trips/{id}")
        );

        let profile = sent(Plot::Profile, Topic::TravelProfile);
        assert_eq!(profile["eventType"], "TravelProfileUpdated");
        assert_eq!(profile["subtopic"], profile["facts"]["userId"]);
        assert_eq!(profile["id"].as_str().unwrap().len(), 32);

        let identity = sent(Plot::Profile, Topic::Identity);
        assert_eq!(identity["topic"], "public.concur.profile.identity");
        assert!(identity["id"].as_str().unwrap().starts_with("updated-"));
        assert!(
            identity["facts"]["userHref"]
                .as_str()
                .unwrap()
                .starts_with("https://us.api.")
        );
    }
}
