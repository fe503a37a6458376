//! The closed set of event types, and the stream each belongs to.

/// The CloudEvents `type`. A closed set: it labels metrics and names schemas, so nothing from a request gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// A trip was booked.
    ItineraryCreated,
    /// A trip was changed.
    ItineraryUpdated,
    /// A trip was cancelled.
    ItineraryCancelled,
    /// A trip was deleted (ESS).
    ItineraryDeleted,
    /// A trip was anonymised (ESS).
    ItineraryAnonymized,
    /// Something happened to a trip, in words that this version does not know; `data.eventType` has them.
    ItineraryChanged,
    /// A form of payment was changed.
    FopUpdated,
    /// Something happened to a form of payment, in words that this version does not know.
    FopChanged,
    /// A travel profile was created (ESS).
    ProfileCreated,
    /// A travel profile was changed.
    ProfileUpdated,
    /// A travel profile was deleted (ESS).
    ProfileDeleted,
    /// Something happened to a travel profile, in words that this version does not know.
    ProfileChanged,
    /// An ESS event of a topic that is none of these.
    Other,
    /// A request that was authentic but malformed, or a record that Kafka refused for its size.
    Quarantined,
}

/// The stream an event belongs to: each has one Kafka topic by configuration, and one JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Trips.
    Itinerary,
    /// Forms of payment.
    Fop,
    /// Travel profiles.
    Profile,
    /// ESS events of other topics.
    Other,
    /// Malformed requests.
    Quarantine,
}

impl EventType {
    /// Every type, in the order of the journal's codes: the code of a type is its index, so new ones go to the end.
    pub const ALL: [Self; 14] = [
        Self::ItineraryCreated,
        Self::ItineraryUpdated,
        Self::ItineraryCancelled,
        Self::ItineraryDeleted,
        Self::ItineraryAnonymized,
        Self::ItineraryChanged,
        Self::FopUpdated,
        Self::FopChanged,
        Self::ProfileCreated,
        Self::ProfileUpdated,
        Self::ProfileDeleted,
        Self::ProfileChanged,
        Self::Other,
        Self::Quarantined,
    ];

    /// The CloudEvents attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ItineraryCreated => "com.concur.itinerary.created",
            Self::ItineraryUpdated => "com.concur.itinerary.updated",
            Self::ItineraryCancelled => "com.concur.itinerary.cancelled",
            Self::ItineraryDeleted => "com.concur.itinerary.deleted",
            Self::ItineraryAnonymized => "com.concur.itinerary.anonymized",
            Self::ItineraryChanged => "com.concur.itinerary.changed",
            Self::FopUpdated => "com.concur.fop.updated",
            Self::FopChanged => "com.concur.fop.changed",
            Self::ProfileCreated => "com.concur.profile.created",
            Self::ProfileUpdated => "com.concur.profile.updated",
            Self::ProfileDeleted => "com.concur.profile.deleted",
            Self::ProfileChanged => "com.concur.profile.changed",
            Self::Other => "com.concur.other",
            Self::Quarantined => "com.concur.quarantined",
        }
    }

    /// The stream that events of this type are published to.
    pub fn stream(self) -> Stream {
        match self {
            Self::ItineraryCreated
            | Self::ItineraryUpdated
            | Self::ItineraryCancelled
            | Self::ItineraryDeleted
            | Self::ItineraryAnonymized
            | Self::ItineraryChanged => Stream::Itinerary,
            Self::FopUpdated | Self::FopChanged => Stream::Fop,
            Self::ProfileCreated
            | Self::ProfileUpdated
            | Self::ProfileDeleted
            | Self::ProfileChanged => Stream::Profile,
            Self::Other => Stream::Other,
            Self::Quarantined => Stream::Quarantine,
        }
    }
}

impl Stream {
    /// Every stream, in the order of the journal's codes.
    pub const ALL: [Self; 5] = [
        Self::Itinerary,
        Self::Fop,
        Self::Profile,
        Self::Other,
        Self::Quarantine,
    ];

    /// The name in schema URNs, configuration keys and command output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Itinerary => "itinerary",
            Self::Fop => "fop",
            Self::Profile => "profile",
            Self::Other => "other",
            Self::Quarantine => "quarantine",
        }
    }

    /// The CloudEvents `dataschema` of events of this stream.
    pub fn dataschema(self) -> &'static str {
        match self {
            Self::Itinerary => "urn:concur-bridge:schema:itinerary:1",
            Self::Fop => "urn:concur-bridge:schema:fop:1",
            Self::Profile => "urn:concur-bridge:schema:profile:1",
            Self::Other => "urn:concur-bridge:schema:other:1",
            Self::Quarantine => "urn:concur-bridge:schema:quarantine:1",
        }
    }
}
