//! Every string of an event, by name: a field that is added later does not compile until somebody decided here.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Secrets;
use crate::event::data::{EssFields, Fop, Itinerary, Other, Profile, User};
use crate::event::{Data, Delivery, Event, Key, Source};
use crate::normalise::{Rules, object_uri};

/// Cleans all of an event but the token itself and the raw body, which sealing hides.
pub(super) fn clean(secrets: &Secrets<'_>, event: &mut Event, rules: &Rules) {
    let Event {
        kind: _,
        source,
        subject,
        key,
        received_at: _,
        token: _,
        delivery,
        correlation_id,
        traceparent,
        raw_body: _,
        unknown_parameters: _,
        data,
    } = event;
    match source {
        Source::Company | Source::User => {}
        Source::Ess(topic) => drop(secrets.clean(topic)),
    }
    secrets.text(subject);
    match key {
        Key::Trip(text) | Key::User(text) => drop(secrets.clean(text)),
        Key::TokenFingerprint | Key::EventId => {}
    }
    secrets.text(correlation_id);
    if secrets.text(traceparent) {
        *traceparent = None;
    }
    let mut lost_id = None;
    if let Some(Delivery {
        topic,
        sender_id,
        serves,
        sha256: _,
    }) = delivery
    {
        secrets.clean(topic);
        // The sender's id is kept as sent, since repeats are recognised by it, unless it becomes the event's.
        if *serves && let Some(Cow::Owned(id)) = sender_id.as_deref().map(|id| secrets.cleaned(id))
        {
            *serves = false;
            lost_id = Some(id);
        }
    }
    secrets.data(data, rules, lost_id);
}

impl Secrets<'_> {
    fn data(&self, data: &mut Data, rules: &Rules, lost_id: Option<String>) {
        match data {
            Data::Itinerary(itinerary) => {
                let Itinerary {
                    event_type,
                    event_date_time,
                    trip_id,
                    object_uri,
                    object_uri_untrusted,
                    context,
                    user,
                    token: _,
                    ess,
                    extra,
                } = &mut **itinerary;
                self.texts([event_type, event_date_time, trip_id, context]);
                self.uris(object_uri, object_uri_untrusted, rules);
                self.user(user);
                self.ess(ess, lost_id);
                self.map(extra);
            }
            Data::Fop(fop) => {
                let Fop {
                    event_type,
                    event_date_time,
                    object_uri,
                    object_uri_untrusted,
                    context,
                    user,
                    token: _,
                    raw_body: _,
                    extra,
                } = &mut **fop;
                self.texts([event_type, event_date_time, context]);
                self.uris(object_uri, object_uri_untrusted, rules);
                self.user(user);
                self.map(extra);
            }
            Data::Profile(profile) => {
                let Profile {
                    event_type,
                    event_date_time,
                    object_uri,
                    object_uri_untrusted,
                    context,
                    user,
                    token: _,
                    ess,
                    raw_body: _,
                    extra,
                } = &mut **profile;
                self.texts([event_type, event_date_time, context]);
                self.uris(object_uri, object_uri_untrusted, rules);
                self.user(user);
                self.ess(ess, lost_id);
                self.map(extra);
            }
            Data::Other(other) => {
                let Other {
                    event_type,
                    event_date_time,
                    object_uri,
                    object_uri_untrusted,
                    user,
                    ess,
                    extra,
                } = &mut **other;
                self.texts([event_type, event_date_time]);
                self.uris(object_uri, object_uri_untrusted, rules);
                self.user(user);
                self.ess(ess, lost_id);
                self.map(extra);
            }
        }
    }

    fn ess(&self, ess: &mut EssFields, lost_id: Option<String>) {
        let EssFields {
            company_id,
            changed_attributes,
            correlation_id,
            subtopic,
            sender_id,
            facts,
        } = ess;
        self.texts([company_id, correlation_id, subtopic]);
        if let Some(id) = lost_id {
            *sender_id = Some(Value::String(id));
        }
        for value in [changed_attributes, sender_id, facts].into_iter().flatten() {
            self.value(value);
        }
    }

    fn user(&self, user: &mut Option<User>) {
        if let Some(User { id_type, id_value }) = user {
            self.clean(id_type);
            self.clean(id_value);
        }
    }

    /// Whether a URI is trusted is decided anew: a placeholder may stand where its host was.
    fn uris(&self, trusted: &mut Option<String>, untrusted: &mut Option<String>, rules: &Rules) {
        self.text(untrusted);
        if self.text(trusted) {
            let placed = object_uri::place(trusted.take(), &rules.object_uri_hosts);
            *trusted = placed.object_uri;
            *untrusted = placed.object_uri_untrusted;
        }
    }

    fn texts<const N: usize>(&self, texts: [&mut Option<String>; N]) {
        for text in texts {
            self.text(text);
        }
    }

    fn text(&self, text: &mut Option<String>) -> bool {
        text.as_mut().is_some_and(|text| self.clean(text))
    }

    /// Recursion is bounded: JSON is read to 64 levels at most.
    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => drop(self.clean(text)),
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(map) => self.map(map),
            Value::Number(number) => {
                let mut text = number.to_string();
                if self.clean(&mut text) {
                    *value = Value::String(text);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn map(&self, map: &mut Map<String, Value>) {
        if map
            .keys()
            .any(|name| matches!(self.cleaned(name), Cow::Owned(_)))
        {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(name, value)| (self.cleaned(&name).into_owned(), value))
                .collect();
        }
        map.values_mut().for_each(|value| self.value(value));
    }
}
