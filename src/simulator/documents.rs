//! The XML that Concur's resources answer with, as documented: Trips v1.1 "Get Trip Details" and Travel Profile
//! "Get a travel profile".

use std::fmt::{self, Write};

use super::story::TripChange;
use super::world::{Company, Traveller, Trip};

/// A trip as far as its life has come.
pub(super) fn itinerary(
    trip: &Trip,
    traveller: &Traveller,
    state: TripChange,
    object_base: &str,
) -> String {
    let (is_cancelled, updates) = match state {
        TripChange::Created => (false, 0),
        TripChange::Updated(update) => (false, update),
        TripChange::Cancelled => (true, trip.updates),
    };
    let mut xml = Xml::document();
    xml.open("Itinerary xmlns=\"http://www.concursolutions.com/api/travel/trip/2010/06\"");
    xml.leaf(
        "id",
        format_args!("{object_base}/api/travel/trip/v1.1/{}", trip.id),
    );
    xml.leaf("ItinLocator", &trip.id);
    xml.leaf("ClientLocator", format_args!("SIM-{:08}", trip.number));
    xml.leaf("ItinSourceName", "ConcurTravel");
    xml.leaf(
        "TripName",
        format_args!("Trip from {} to {}", trip.from.1, trip.to.1),
    );
    xml.leaf(
        "Comments",
        if updates == 0 {
            String::new()
        } else {
            format!("Changed {updates} time(s)")
        },
    );
    xml.leaf("StartDateLocal", trip.starts);
    xml.leaf("EndDateLocal", trip.ends());
    xml.leaf("BookedVia", "EveryGDS");
    xml.leaf("BookedByFirstName", traveller.first_name);
    xml.leaf("BookedByLastName", traveller.last_name);
    if is_cancelled {
        xml.leaf("CancelComments", "The meeting was called off");
    }
    // 0 confirmed, 2 cancelled.
    xml.leaf("Status", if is_cancelled { "2" } else { "0" });
    xml.open("Bookings");
    xml.open("Booking");
    xml.open("Segments");
    xml.open("Air");
    xml.leaf("Vendor", "CQ");
    xml.leaf("Status", if is_cancelled { "HX" } else { "HK" });
    xml.leaf("StartDateLocal", trip.starts);
    xml.leaf("StartCityCode", trip.from.0);
    xml.leaf("EndCityCode", trip.to.0);
    xml.leaf("FlightNumber", 100 + trip.number % 800 + u64::from(updates));
    xml.close("Air");
    xml.close("Segments");
    xml.open("Passengers");
    xml.open("Passenger");
    xml.leaf("NameFirst", traveller.first_name);
    xml.leaf("NameLast", traveller.last_name);
    xml.close("Passenger");
    xml.close("Passengers");
    xml.leaf("RecordLocator", &trip.id[trip.id.len() - 6..]);
    xml.leaf("BookingSource", "ConcurTravel");
    xml.leaf("ItinSourceName", "TravelSupplier");
    xml.leaf("PassengerCount", 1);
    xml.close("Booking");
    xml.close("Bookings");
    xml.close("Itinerary");
    xml.0
}

/// A travel profile.
pub(super) fn profile(traveller: &Traveller, company: &Company) -> String {
    let mut xml = Xml::document();
    xml.open(&format!(
        "ProfileResponse Status=\"Active\" Unique=\"{}\"",
        traveller.uuid
    ));
    xml.open("General");
    xml.leaf("NamePrefix", "");
    xml.leaf("FirstName", traveller.first_name);
    xml.leaf("MiddleName", "");
    xml.leaf("LastName", traveller.last_name);
    xml.leaf("NameSuffix", "");
    xml.leaf("PreferredName", "");
    xml.leaf("JobTitle", "Finance Manager");
    xml.leaf("PreferredLanguage", "en-us");
    xml.leaf("HasOpenBooking", "true");
    xml.leaf("CountryCode", "US");
    xml.leaf("CompanyName", company.name);
    xml.close("General");
    xml.open("EmailAddresses");
    xml.open("EmailAddress Type=\"Business\" Contact=\"True\"");
    xml.text(&traveller.login);
    xml.close("EmailAddress");
    xml.close("EmailAddresses");
    xml.open("Air");
    xml.open("Seat");
    xml.leaf(
        "InterRowPositionCode",
        if traveller.number.is_multiple_of(2) {
            "Window"
        } else {
            "Aisle"
        },
    );
    xml.close("Seat");
    xml.close("Air");
    xml.close("ProfileResponse");
    xml.0
}

/// A refusal.
pub(super) fn error(message: &str) -> String {
    let mut xml = Xml::document();
    xml.open("Error");
    xml.leaf("Message", message);
    xml.close("Error");
    xml.0
}

/// Writes XML.
struct Xml(String);

impl Xml {
    fn document() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n".to_owned())
    }

    fn open(&mut self, tag: &str) {
        self.0.extend(["<", tag, ">"]);
    }

    fn close(&mut self, name: &str) {
        self.0.extend(["</", name, ">\n"]);
    }

    fn leaf(&mut self, name: &str, value: impl fmt::Display) {
        self.open(name);
        self.text(value);
        self.close(name);
    }

    fn text(&mut self, value: impl fmt::Display) {
        // Writing to a string cannot fail.
        let _ = write!(Escaped(&mut self.0), "{value}");
    }
}

/// Escapes what passes through.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quick_xml::events::Event;

    use super::super::world::World;
    use super::*;

    /// The text of the first element of a name; the whole document must be well-formed.
    fn first(xml: &str, name: &str) -> Option<String> {
        let mut reader = quick_xml::Reader::from_str(xml);
        let mut found = None;
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) if found.is_none() && start.local_name().as_ref() == name => {
                    let end = start.to_end().into_owned();
                    found = Some(reader.read_text(end.name()).unwrap().into_owned());
                }
                Event::Eof => {
                    return found
                        .map(|text| quick_xml::escape::unescape(&text).unwrap().into_owned());
                }
                _ => {}
            }
        }
    }

    #[test]
    fn documents_are_well_formed_and_say_what_the_world_says() {
        let world = World::new(9);
        for number in 0..200 {
            let trip = world.trip(number);
            let traveller = world.traveller(trip.traveller);
            let made = itinerary(&trip, &traveller, TripChange::Created, "https://c.example");
            assert_eq!(
                first(&made, "ItinLocator").as_deref(),
                Some(trip.id.as_str())
            );
            assert_eq!(
                first(&made, "id"),
                Some(format!(
                    "https://c.example/api/travel/trip/v1.1/{}",
                    trip.id
                ))
            );
            assert_eq!(first(&made, "CancelComments"), None);
            let gone = itinerary(
                &trip,
                &traveller,
                TripChange::Cancelled,
                "https://c.example",
            );
            assert!(first(&gone, "CancelComments").is_some());
            let company = world.company(traveller.company);
            let profile = profile(&traveller, &company);
            assert_eq!(
                first(&profile, "CompanyName").as_deref(),
                Some(company.name)
            );
            assert_eq!(
                first(&profile, "EmailAddress").as_deref(),
                Some(traveller.login.as_str())
            );
        }
        assert_eq!(
            first(&error("a < b & c"), "Message").as_deref(),
            Some("a < b & c")
        );
    }
}
