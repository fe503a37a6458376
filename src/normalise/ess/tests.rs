use super::*;

#[test]
fn the_last_word_of_an_event_type_is_found_in_every_spelling() {
    for (name, expected) in [
        ("ItineraryCreated", "Created"),
        ("TravelProfileUpdated", "Updated"),
        ("DELETE", "DELETE"),
        ("created", "created"),
        ("itinerary.updated", "updated"),
        ("itinerary_updated", "updated"),
        ("ITINERARY CANCELLED", "CANCELLED"),
        ("ITINERARYCreated", "Created"),
        ("ItineraryCREATED", "CREATED"),
        (
            "ItineraryCreated| ItineraryUpdated| ItineraryCancelled",
            "Cancelled",
        ),
        (" ItineraryCreated ", "Created"),
        ("ItineraryCreated2", "Created"),
        ("Recreated", "Recreated"),
        ("éCreated", "Created"),
        ("reisé", "reis"),
        ("", ""),
        ("123", ""),
        ("é", ""),
    ] {
        assert_eq!(last_word(name), expected, "{name}");
    }
}

#[test]
fn each_stream_knows_its_own_changes() {
    use EventType as E;
    for (stream, word, expected) in [
        (Stream::Itinerary, "ItineraryCreated", E::ItineraryCreated),
        (Stream::Itinerary, "ItineraryUpdated", E::ItineraryUpdated),
        (
            Stream::Itinerary,
            "ItineraryCancelled",
            E::ItineraryCancelled,
        ),
        (
            Stream::Itinerary,
            "ItineraryCanceled",
            E::ItineraryCancelled,
        ),
        (Stream::Itinerary, "ItineraryDeleted", E::ItineraryDeleted),
        (Stream::Itinerary, "DELETE", E::ItineraryDeleted),
        (
            Stream::Itinerary,
            "ItineraryAnonymized",
            E::ItineraryAnonymized,
        ),
        (
            Stream::Itinerary,
            "ItineraryAonymized",
            E::ItineraryAnonymized,
        ),
        (Stream::Itinerary, "ItineraryMerged", E::ItineraryChanged),
        (Stream::Profile, "IdentityProfileCreated", E::ProfileCreated),
        (Stream::Profile, "TravelProfileUpdated", E::ProfileUpdated),
        (Stream::Profile, "DELETE", E::ProfileDeleted),
        (Stream::Profile, "TravelProfileCancelled", E::ProfileChanged),
        (
            Stream::Profile,
            "TravelProfileAnonymized",
            E::ProfileChanged,
        ),
        (Stream::Other, "ReportCreated", E::Other),
    ] {
        assert_eq!(kind(stream, Some(word)), expected, "{word}");
    }
    assert_eq!(kind(Stream::Itinerary, None), E::ItineraryChanged);
    assert_eq!(kind(Stream::Profile, None), E::ProfileChanged);
}

#[test]
fn an_id_serves_when_it_is_short_and_printable() {
    for good in ["x", "created-fc48f42d-12345", "Zürich", &"i".repeat(128)] {
        assert!(can_serve(good), "{good}");
    }
    for bad in [
        "",
        "a\0",
        "a\r\nb",
        "a\u{7f}",
        "a\u{9b}",
        &"i".repeat(129),
        &"ü".repeat(65),
    ] {
        assert!(!can_serve(bad), "{bad:?}");
    }
}
