//! News as v1 postbacks, in the words of the pages Travel Profile v1 - Company Notification and - User Notification.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::dice::Dice;
use super::story::{News, TripChange, What};
use super::world::World;
use crate::concur::notifications::Level;

/// What a query value may hold as it is (RFC 3986 unreserved, and the `@` that the page shows in a login).
const IN_A_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'@');

/// One request, but for its target.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A way to get a postback wrong; the bridge answers each with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformation {
    /// A `type` that there is not.
    UnknownType,
    /// No `type` at all.
    MissingType,
    /// `type` twice.
    DuplicateType,
    /// An escape that is none.
    BadEscape,
    /// XML cut in the middle (JSON for ESS).
    TruncatedBody,
    /// A byte that is not UTF-8.
    BadUtf8,
    /// A document type declaration.
    Doctype,
    /// Nothing that says which trip.
    MissingIdentity,
}

impl Malformation {
    /// What can be wrong with a postback that has no body.
    const OF_A_QUERY: [Self; 4] = [
        Self::UnknownType,
        Self::MissingType,
        Self::DuplicateType,
        Self::BadEscape,
    ];

    const OF_A_TRIP: [Self; 8] = [
        Self::UnknownType,
        Self::MissingType,
        Self::DuplicateType,
        Self::BadEscape,
        Self::TruncatedBody,
        Self::BadUtf8,
        Self::Doctype,
        Self::MissingIdentity,
    ];

    /// A way that fits the news.
    pub(super) fn of_v1(news: &News, dice: &mut Dice) -> Self {
        match news.what {
            What::Trip(..) => *dice.pick(&Self::OF_A_TRIP),
            What::Payment | What::Profile => *dice.pick(&Self::OF_A_QUERY),
        }
    }
}

/// The postback of a piece of news.
pub(super) fn message(world: World, news: &News, level: Level, object_base: &str) -> Message {
    let traveller = &news.traveller;
    let company_token = || world.company(traveller.company).token;
    // The pages spell the type in several ways; so does the simulator.
    let (kind, token) = match (&news.what, level) {
        (What::Trip(..), Level::Company) => ("itinerary", company_token()),
        (What::Trip(..), Level::User) => ("Itinerary", traveller.token.clone()),
        (What::Payment, _) => ("FOP", traveller.token.clone()),
        (What::Profile, Level::Company) => ("profile", company_token()),
        (What::Profile, Level::User) => ("Profile", traveller.token.clone()),
    };
    let mut query = format!("type={kind}&oauth_token_key={}", escaped(&token));
    let names_the_user = level == Level::Company && !matches!(news.what, What::Payment);
    if names_the_user {
        query.push_str("&userid_type=login&userid_value=");
        query.push_str(&escaped(&traveller.login));
    }
    let mut headers = HeaderMap::new();
    if matches!(news.what, What::Trip(..)) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if level == Level::User
            && let Ok(mut value) = HeaderValue::from_str(&format!("OAuth {token}"))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
    }
    Message {
        query,
        headers,
        body: notification(news, object_base).into(),
    }
}

/// The body that the page documents, line by line; empty where it documents none.
fn notification(news: &News, object_base: &str) -> String {
    let What::Trip(trip, change) = &news.what else {
        return String::new();
    };
    let event_type = match change {
        TripChange::Created => "CREATE",
        TripChange::Updated(_) => "UPDATE",
        TripChange::Cancelled => "CANCEL",
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Notification>\n\
         <ObjectType>ITINERARY</ObjectType>\n\
         <ObjectURI>{object_base}/api/travel/trip/v1.1/{id}</ObjectURI>\n\
         <EventDateTime>{at}</EventDateTime>\n\
         <EventType>{event_type}</EventType>\n\
         <Context/>\n\
         <TripId>{id}</TripId>\n\
         </Notification>\n",
        id = trip.id,
        at = news.at.strftime("%Y-%m-%dT%H:%M:%S"),
    )
}

/// The same message, got wrong.
pub(super) fn spoil(mut message: Message, how: Malformation) -> Message {
    let (first, others) = message
        .query
        .split_once('&')
        .unwrap_or((&message.query, ""));
    let body = || String::from_utf8_lossy(&message.body).into_owned();
    match how {
        Malformation::UnknownType => message.query = format!("type=expense&{others}"),
        Malformation::MissingType => message.query = others.to_owned(),
        Malformation::DuplicateType => message.query = format!("{first}&{first}&{others}"),
        Malformation::BadEscape => message.query = format!("{first}&{others}%zz"),
        Malformation::TruncatedBody => message.body = message.body.slice(..message.body.len() / 2),
        Malformation::BadUtf8 => {
            let (head, tail) = message.body.split_at(message.body.len() / 2);
            message.body = [head, b"\xff\xfe", tail].concat().into();
        }
        Malformation::Doctype => {
            message.body = body()
                .replacen(
                    "<Notification>",
                    "<!DOCTYPE Notification>\n<Notification>",
                    1,
                )
                .into();
        }
        Malformation::MissingIdentity => {
            let named =
                |line: &&str| !line.starts_with("<ObjectURI>") && !line.starts_with("<TripId>");
            message.body = body()
                .lines()
                .filter(named)
                .collect::<Vec<_>>()
                .join("\n")
                .into();
        }
    }
    message
}

fn escaped(value: &str) -> String {
    utf8_percent_encode(value, IN_A_VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::story::{Plot, Story};
    use super::*;

    fn news(plot: Plot) -> (World, News) {
        let world = World::new(5);
        let noon = jiff::civil::datetime(2013, 2, 13, 8, 12, 35, 0);
        (
            world,
            Story::new(world, Arc::default()).next((), plot, noon),
        )
    }

    #[test]
    fn a_trip_is_told_as_the_page_documents_it() {
        let (world, news) = news(Plot::Trip);
        let What::Trip(trip, _) = &news.what else {
            panic!("asked for a trip")
        };
        let message = message(
            world,
            &news,
            Level::Company,
            "https://www.concursolutions.com",
        );
        let token = escaped(&world.company(news.traveller.company).token);
        let login = &news.traveller.login;
        assert_eq!(
            message.query,
            format!(
                "type=itinerary&oauth_token_key={token}&userid_type=login&userid_value={login}"
            )
        );
        // The page's own sample, with its trip exchanged for ours.
        let page = include_str!("../../tests/pages/itinerary-notification.xml")
            .replace("naIzQJ0y2DBWjCIQOb2SHTsozwBsHDkdP", &trip.id);
        assert_eq!(message.body, page);
        assert!(!message.headers.contains_key(AUTHORIZATION));
    }

    #[test]
    fn a_users_own_postback_carries_the_token_in_a_header_and_names_nobody() {
        let (world, news) = news(Plot::Trip);
        let message = message(world, &news, Level::User, "https://www.concursolutions.com");
        let token = &news.traveller.token;
        assert_eq!(
            message.query,
            format!("type=Itinerary&oauth_token_key={}", escaped(token))
        );
        assert_eq!(message.headers[AUTHORIZATION], &format!("OAuth {token}"));
    }

    #[test]
    fn payments_have_a_token_and_nothing_else() {
        let (world, news) = news(Plot::Payment);
        let message = message(world, &news, Level::Company, "");
        assert_eq!(
            message.query,
            format!(
                "type=FOP&oauth_token_key={}",
                escaped(&news.traveller.token)
            )
        );
        assert!(message.body.is_empty() && message.headers.is_empty());
    }

    #[test]
    fn each_malformation_changes_the_message() {
        let (world, news) = news(Plot::Trip);
        let good = message(world, &news, Level::Company, "https://x.example");
        for how in Malformation::OF_A_TRIP {
            let bad = spoil(good.clone(), how);
            assert!(bad.query != good.query || bad.body != good.body, "{how:?}");
        }
    }
}
