//! Does the simulator behave as Concur does?

mod command;
mod ess;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use concur_bridge::concur::notifications::{Change, Feature, Level};
use concur_bridge::concur::{BaseUrl, Client, Patience};
use concur_bridge::secret::Token;
use concur_bridge::simulator::{
    Answer, Clock, Faults, ObjectBase, Outcome, Parcel, Simulator, Target, TripChange, What,
};

use crate::fake_http::{FakeHttp, Reply, Request, reply};
use crate::support::wait::patience;

/// How long a run or a condition may take before the test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

async fn receiver() -> FakeHttp {
    FakeHttp::start(|_, _| reply("200 OK", "", r#"{"id":"x"}"#)).await
}

/// A simulator that posts as fast as it can, with a story that never differs.
fn simulator(receiver: &FakeHttp, count: u64) -> Simulator {
    Simulator {
        target: Some(Target::parse(&receiver.url("/postback/secret")).unwrap()),
        rate: None,
        count: Some(count),
        clock: Clock::MadeUp(jiff::civil::datetime(2026, 1, 5, 8, 0, 0, 0)),
        ..Simulator::new(7)
    }
}

async fn finish(simulator: Simulator) -> concur_bridge::simulator::Summary {
    let mut running = simulator.start().await.unwrap();
    tokio::time::timeout(patience(DEADLINE), running.sent_all())
        .await
        .expect("the count is reached in time");
    running.stop().await
}

#[tokio::test]
async fn every_piece_of_news_arrives_once_in_every_documented_form() {
    let receiver = receiver().await;
    let mut simulator = simulator(&receiver, 500);
    simulator.subscribed = Feature::ALL
        .iter()
        .flat_map(|feature| [(Level::Company, *feature), (Level::User, *feature)])
        .collect();
    let summary = finish(simulator).await;
    assert_eq!((summary.sent, summary.unanswered), (500, 0));
    assert_eq!(summary.answered, BTreeMap::from([(200, 500)]));

    let requests = receiver.requests();
    assert_eq!(requests.len(), 500);
    let mut forms: HashMap<(String, bool), u32> = HashMap::new();
    for request in &requests {
        assert!(
            request.line().starts_with("POST /postback/secret?type="),
            "{}",
            request.line()
        );
        assert!(
            request
                .parameter("oauth_token_key")
                .is_some_and(|token| !token.is_empty())
        );
        let kind = request.parameter("type").unwrap().to_owned();
        let names_the_user = request.parameter("userid_value").is_some();
        let has_body = kind.eq_ignore_ascii_case("itinerary");
        assert_eq!(!request.body.is_empty(), has_body, "{kind}");
        assert_eq!(
            request.header("content-type"),
            has_body.then_some("application/xml"),
            "{kind}"
        );
        assert_eq!(
            request.header("authorization").is_some(),
            has_body && !names_the_user,
            "{kind}"
        );
        assert_eq!(
            request.header("content-length").unwrap(),
            request.body.len().to_string()
        );
        *forms.entry((kind, names_the_user)).or_default() += 1;
    }
    let expected = [
        ("itinerary", true),
        ("Itinerary", false),
        ("FOP", false),
        ("profile", true),
        ("Profile", false),
    ];
    assert_eq!(forms.len(), expected.len(), "{forms:?}");
    for (kind, names_the_user) in expected {
        assert!(forms[&(kind.to_owned(), names_the_user)] > 10, "{forms:?}");
    }
}

#[tokio::test]
async fn a_trip_arrives_created_then_updated_then_cancelled() {
    let receiver = receiver().await;
    let mut simulator = simulator(&receiver, 2_000);
    simulator.subscribed = vec![(Level::Company, Feature::Itinerary)];
    finish(simulator).await;
    let mut last: HashMap<String, String> = HashMap::new();
    for request in receiver.requests() {
        let text = String::from_utf8(request.body).unwrap();
        let leaf = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        let (trip, event) = (leaf("TripId"), leaf("EventType"));
        let before = last.insert(trip.clone(), event.clone());
        let fits = match before.as_deref() {
            None => event == "CREATE",
            Some("CREATE" | "UPDATE") => event == "UPDATE" || event == "CANCEL",
            Some(_) => false,
        };
        assert!(fits, "{event} after {before:?} of {trip}");
    }
    assert!(last.len() > 300);
    assert!(last.values().any(|event| event == "CANCEL"));
}

#[tokio::test]
async fn a_seed_sends_the_same_requests_again() {
    let mut sent = Vec::new();
    for seed in [7, 7, 8] {
        let receiver = FakeHttp::start(|_, _| reply("200 OK", "", "")).await;
        let mut simulator = simulator(&receiver, 200);
        simulator.seed = seed;
        simulator.faults = Faults {
            malformed: 0.1,
            duplicate: 0.1,
            slow: 0.0,
        };
        finish(simulator).await;
        let mut requests: Vec<_> = receiver
            .requests()
            .into_iter()
            .map(|request| (request.line().to_owned(), request.body))
            .collect();
        requests.sort();
        sent.push(requests);
    }
    assert_eq!(sent[0], sent[1]);
    assert_ne!(sent[0], sent[2]);
}

#[tokio::test]
async fn faults_come_as_often_as_asked_and_are_counted() {
    let receiver = FakeHttp::start(|_, request| {
        let is_good = request
            .parameter("type")
            .is_some_and(|kind| kind != "expense");
        if is_good {
            reply("200 OK", "", "")
        } else {
            reply("400 Bad Request", "", "")
        }
    })
    .await;
    let mut simulator = simulator(&receiver, 1_000);
    simulator.faults = Faults {
        malformed: 0.2,
        duplicate: 0.1,
        slow: 0.01,
    };
    let summary = finish(simulator).await;
    assert!((150..250).contains(&summary.malformed), "{summary:?}");
    assert!((60..140).contains(&summary.duplicates), "{summary:?}");
    assert_eq!(
        summary.answered.values().sum::<u64>(),
        summary.sent + summary.duplicates
    );
    assert_eq!(
        receiver.requests().len() as u64,
        summary.sent + summary.duplicates
    );
    assert!(summary.answered_in(4) > 20, "{summary:?}");
}

#[tokio::test]
async fn v1_is_sent_once_whatever_the_answer() {
    let receiver = FakeHttp::start(|number, _| match number % 3 {
        0 => reply("503 Service Unavailable", "Retry-After: 1\r\n", ""),
        1 => reply("401 Unauthorized", "", ""),
        _ => Reply::Close,
    })
    .await;
    let mut simulator = simulator(&receiver, 60);
    simulator.connections = 1;
    let summary = finish(simulator).await;
    assert_eq!(summary.answered, BTreeMap::from([(401, 20), (503, 20)]));
    assert_eq!((summary.unanswered, summary.retried), (20, 0));
    assert_eq!(receiver.requests().len(), 60);
}

#[tokio::test]
async fn the_observer_sees_each_request_with_its_answer() {
    let receiver = receiver().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let mut simulator = simulator(&receiver, 50);
    simulator.observer = Some(Arc::new(move |parcel: &Parcel, outcome: &Outcome| {
        let Answer::Status(status, body) = &outcome.answer else {
            panic!("answered")
        };
        keep.lock()
            .unwrap()
            .push((parcel.news.number, *status, body.clone()));
    }));
    finish(simulator).await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen.len(), 50);
    assert!(
        seen.iter()
            .enumerate()
            .all(|(index, (number, ..))| *number == index as u64)
    );
    assert!(
        seen.iter()
            .all(|(_, status, body)| *status == 200 && body == r#"{"id":"x"}"#)
    );
}

#[tokio::test]
async fn only_what_is_subscribed_to_is_posted() {
    let receiver = receiver().await;
    let mut simulator = simulator(&receiver, 0);
    (simulator.count, simulator.subscribed) = (None, Vec::new());
    let running = simulator.start().await.unwrap();
    let base = BaseUrl::parse(&format!("http://{}", running.address().unwrap())).unwrap();
    let concur = Client::new(base, Patience::default()).unwrap();
    let token = Token::new("administrator".to_owned());

    concur
        .notify(Change::Subscribe, Level::Company, Feature::Fop, &token)
        .await
        .unwrap();
    until(|| receiver.requests().len() > 20).await;
    concur
        .notify(Change::Subscribe, Level::User, Feature::Profile, &token)
        .await
        .unwrap();
    concur
        .notify(Change::Unsubscribe, Level::Company, Feature::Fop, &token)
        .await
        .unwrap();
    until(|| types(&receiver.requests()).contains("Profile")).await;
    let summary = running.stop().await;
    assert_eq!(summary.unanswered, 0);
    assert_eq!(
        types(&receiver.requests()),
        ["FOP", "Profile"].map(str::to_owned).into()
    );
}

fn types(requests: &[Request]) -> std::collections::BTreeSet<String> {
    requests
        .iter()
        .map(|request| request.parameter("type").unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn trips_and_profiles_are_served_to_the_token_they_were_posted_with_and_to_no_other() {
    let receiver = receiver().await;
    let posted = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&posted);
    let mut simulator = simulator(&receiver, 300);
    simulator.object_base = ObjectBase::Own;
    simulator.observer = Some(Arc::new(move |parcel: &Parcel, _: &Outcome| {
        keep.lock().unwrap().push(parcel.clone())
    }));
    let mut running = simulator.start().await.unwrap();
    running.sent_all().await;
    let base = format!("http://{}", running.address().unwrap());
    let get = async |url: &str, token: &str| {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(no_tls())
            .build()
            .unwrap();
        let mut request = http.get(url);
        if !token.is_empty() {
            request = request.header("Authorization", format!("OAuth {token}"));
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };

    let posted = posted.lock().unwrap().clone();
    let mut ends = HashMap::new();
    for parcel in &posted {
        if let What::Trip(trip, change) = &parcel.news.what {
            ends.insert(trip.number, (parcel.clone(), *change));
        }
    }
    let mut cancelled = 0;
    for (parcel, change) in ends.values().take(40) {
        let text = String::from_utf8(parcel.body.to_vec()).unwrap();
        let uri = text
            .split_once("<ObjectURI>")
            .unwrap()
            .1
            .split_once('<')
            .unwrap()
            .0
            .to_owned();
        assert!(
            uri.starts_with(&format!("{base}/api/travel/trip/v1.1/")),
            "{uri}"
        );
        let (status, body) = get(&uri, &parcel.news.traveller.token).await;
        assert_eq!(status, 200);
        assert!(body.contains(&format!("<id>{uri}</id>")), "{body}");
        assert_eq!(
            body.contains("<CancelComments>"),
            *change == TripChange::Cancelled
        );
        cancelled += u32::from(*change == TripChange::Cancelled);
        assert_eq!(get(&uri, "wrong").await.0, 401);
        assert_eq!(get(&uri, "").await.0, 401);
    }
    assert!(cancelled > 0);

    let traveller = &posted[0].news.traveller;
    let url = format!(
        "{base}/api/travelprofile/v1.0/profile?userid_type=login&userid_value={}",
        traveller.login
    );
    let (status, body) = get(&url, &traveller.token).await;
    assert_eq!((status, body.contains(&traveller.login)), (200, true));
    assert_eq!(get(&url, "wrong").await.0, 401);
    let unknown = format!("{base}/api/travel/trip/v1.1/naIzQJ0y2DBWjCIQOb2SHTsozwBsHDkdP");
    assert_eq!(get(&unknown, &traveller.token).await.0, 404);
    running.stop().await;
}

fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

async fn until(condition: impl Fn() -> bool) {
    tokio::time::timeout(patience(DEADLINE), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the condition holds in time");
}
