//! The traffic is what it claims to be.

use crate::support::rng::Rng;
use crate::support::traffic::{Form, Key, Tag, request};

const FORMS: [Form; 4] = [Form::Itinerary, Form::Profile, Form::Fop, Form::Ess];

#[test]
fn a_tag_reads_back_from_its_text() {
    for form in FORMS {
        let tag = Tag {
            key: Key {
                form,
                run: 3,
                worker: 14,
                index: 2,
            },
            n: 42,
        };
        assert_eq!(tag.to_string().parse(), Ok(tag));
    }
    for text in ["", "x1-2-3#4", "i1-2#4", "i1-2-3", "i1-2-3#", "#1"] {
        assert_eq!(text.parse::<Tag>(), Err(()), "{text}");
    }
}

#[test]
fn a_request_says_its_length_and_grows_to_the_size_asked_for() {
    for form in FORMS {
        let tag = Tag {
            key: Key {
                form,
                run: 1,
                worker: 0,
                index: 0,
            },
            n: 1,
        };
        for size in [0, 3_000] {
            let request = String::from_utf8(request(tag, size)).unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(
                head.contains(&format!("content-length: {}", body.len())),
                "{head}"
            );
            assert!(body.len() >= size || form == Form::Ess);
            assert!(body.contains(&tag.to_string()));
        }
    }
}

#[test]
fn a_seed_replays_its_numbers_and_forks_are_apart() {
    let draw = |mut rng: Rng| (0..50).map(|_| rng.next()).collect::<Vec<_>>();
    assert_eq!(draw(Rng::new(7)), draw(Rng::new(7)));
    assert_ne!(draw(Rng::new(7)), draw(Rng::new(8)));
    assert_ne!(draw(Rng::new(7).fork(1)), draw(Rng::new(7).fork(2)));
}
