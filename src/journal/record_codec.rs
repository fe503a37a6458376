//! The binary form of a [`Record`], and the checksum that binds it to its place.
//!
//! Layout of version 1, integers little-endian, `text` = varint of length + 1 (0: absent), then UTF-8:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 8 | receipt time, milliseconds since the epoch, signed |
//! | 1 | event type: its index in [`EventType::ALL`] |
//! | … | `text` × 5: id, key, traceparent, correlation id, ESS topic |
//! | 1 | 1 when quarantine facts follow (`text` reason, `text` detail, varint size), else 0 |
//! | rest | content |
//!
//! [`decode`] never panics and refuses what [`encode`] cannot have written, so `decode(encode(r)) == r` and a changed byte
//! that still decodes is caught by the CRC. The CRC32C covers the encoded record, its position and the running byte count:
//! a record moved to another place does not pass.

use bytes::Bytes;
use jiff::Timestamp;

use crate::event::EventType;
use crate::record::{Position, QuarantineFacts, Record};

const VERSION: u8 = 1;
/// Version, receipt time, event type.
const HEAD_BYTES: usize = 10;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by another version of this codec.
    #[error("record version {0} is unknown")]
    Version(u8),
    /// Ends within a field.
    #[error("the record is cut short")]
    Short,
    /// A field has a value that is never written.
    #[error("the record has an impossible {0}")]
    Field(&'static str),
}

/// Encodes a record. The receipt time is kept to the millisecond.
pub fn encode(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + record.content.len());
    out.push(VERSION);
    out.extend_from_slice(&record.received_at.as_millisecond().to_le_bytes());
    out.push(type_code(record.kind));
    put_text(&mut out, Some(&record.id));
    put_text(&mut out, record.key.as_deref());
    put_text(&mut out, record.traceparent.as_deref());
    put_text(&mut out, record.correlation_id.as_deref());
    put_text(&mut out, record.ess_topic.as_deref());
    match &record.quarantine {
        None => out.push(0),
        Some(facts) => {
            out.push(1);
            put_text(&mut out, Some(&facts.reason));
            put_text(&mut out, Some(&facts.detail));
            put_varint(&mut out, facts.size);
        }
    }
    out.extend_from_slice(&record.content);
    out
}

/// Decodes a record; its content shares the memory of `bytes`.
///
/// # Errors
/// The bytes are not what [`encode`] writes.
pub fn decode(bytes: &Bytes) -> Result<Record, DecodeError> {
    let mut rest = Fields { bytes, at: 0 };
    let version = rest.byte()?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let received_ms = i64::from_le_bytes(rest.array()?);
    let received_at =
        Timestamp::from_millisecond(received_ms).map_err(|_| DecodeError::Field("receipt time"))?;
    let kind = EventType::ALL
        .get(usize::from(rest.byte()?))
        .copied()
        .ok_or(DecodeError::Field("event type"))?;
    let id = rest.text()?.ok_or(DecodeError::Field("id"))?;
    let key = rest.text()?;
    let traceparent = rest.text()?;
    let correlation_id = rest.text()?;
    let ess_topic = rest.text()?;
    let quarantine = match rest.byte()? {
        0 => None,
        1 => Some(QuarantineFacts {
            reason: rest.text()?.ok_or(DecodeError::Field("reason"))?,
            detail: rest.text()?.ok_or(DecodeError::Field("detail"))?,
            size: rest.varint()?,
        }),
        _ => return Err(DecodeError::Field("quarantine flag")),
    };
    Ok(Record {
        id,
        kind,
        key,
        received_at,
        traceparent,
        correlation_id,
        ess_topic,
        quarantine,
        content: bytes.slice(rest.at..),
    })
}

/// The receipt time in the first bytes of an encoded record, without decoding the rest.
pub(super) fn received_ms(head: &[u8]) -> Option<i64> {
    let head = head.get(..HEAD_BYTES)?;
    (head[0] == VERSION).then(|| head[1..9].try_into().ok().map(i64::from_le_bytes))?
}

/// The CRC of an encoded record before it has a place: the part that callers compute outside the writer.
pub(super) fn crc_of_bytes(encoded: &[u8]) -> u32 {
    crc32c::crc32c(encoded)
}

/// The CRC of an encoded record in its place; `end_bytes` is the running byte count of the journal after it.
pub(super) fn crc_in_place(crc_of_bytes: u32, position: Position, end_bytes: u64) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&position.0.to_le_bytes());
    place[8..].copy_from_slice(&end_bytes.to_le_bytes());
    crc32c::crc32c_append(crc_of_bytes, &place)
}

/// The index in [`EventType::ALL`], which lists the types as they are declared (a test says so).
fn type_code(kind: EventType) -> u8 {
    kind as u8
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(0),
        Some(text) => {
            put_varint(out, text.len() as u64 + 1);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes fields off the front of an encoded record.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], DecodeError> {
        let end = self.at.checked_add(count).ok_or(DecodeError::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(DecodeError::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Short)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                // One spelling per number: a trailing zero group is never written.
                return if byte == 0 && shift > 0 {
                    Err(DecodeError::Field("number"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(DecodeError::Field("number"))
    }

    fn text(&mut self) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.varint()?.checked_sub(1) else {
            return Ok(None);
        };
        let length = usize::try_from(length).map_err(|_| DecodeError::Short)?;
        let text =
            std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Field("text"))?;
        Ok(Some(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let facts = (".{0,20}", ".{0,40}", any::<u64>()).prop_map(|(reason, detail, size)| {
            QuarantineFacts {
                reason,
                detail,
                size,
            }
        });
        (
            (
                ".{0,140}",
                0..EventType::ALL.len(),
                -1_i64 << 44..1_i64 << 44,
            ),
            proptest::option::of(".{0,40}"),
            proptest::option::of(".{0,60}"),
            proptest::option::of(".{0,40}"),
            proptest::option::of(".{0,40}"),
            proptest::option::of(facts),
            proptest::collection::vec(any::<u8>(), 0..600),
        )
            .prop_map(
                |(
                    (id, kind, ms),
                    key,
                    traceparent,
                    correlation_id,
                    ess_topic,
                    quarantine,
                    content,
                )| {
                    Record {
                        id,
                        kind: EventType::ALL[kind],
                        key,
                        received_at: Timestamp::from_millisecond(ms).unwrap(),
                        traceparent,
                        correlation_id,
                        ess_topic,
                        quarantine,
                        content: content.into(),
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_the_same_record(record in records()) {
            let encoded = encode(&record);
            prop_assert_eq!(received_ms(&encoded), Some(record.received_at.as_millisecond()));
            prop_assert_eq!(decode(&encoded.into()), Ok(record));
        }

        #[test]
        fn what_decodes_at_all_encodes_to_the_same_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Ok(record) = decode(&bytes.clone().into()) {
                prop_assert_eq!(encode(&record), bytes);
            }
        }

        #[test]
        fn a_record_cut_before_its_content_is_refused(record in records(), cut in any::<prop::sample::Index>()) {
            let encoded = encode(&record);
            let head = encoded.len() - record.content.len();
            let cut = cut.index(head);
            prop_assert!(decode(&Bytes::copy_from_slice(&encoded[..cut])).is_err());
        }

        #[test]
        fn a_flipped_bit_a_moved_record_and_another_count_change_the_crc(record in records(), bit in any::<prop::sample::Index>()) {
            let mut encoded = encode(&record);
            let crc = crc_in_place(crc_of_bytes(&encoded), Position(7), 900);
            prop_assert_ne!(crc, crc_in_place(crc_of_bytes(&encoded), Position(8), 900));
            prop_assert_ne!(crc, crc_in_place(crc_of_bytes(&encoded), Position(7), 901));
            let bit = bit.index(encoded.len() * 8);
            encoded[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(crc, crc_in_place(crc_of_bytes(&encoded), Position(7), 900));
        }
    }

    #[test]
    fn every_event_type_has_a_code_of_its_own() {
        for (index, kind) in EventType::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(type_code(kind)), index);
        }
    }
}
