//! When a call is tried again, and when it ends: on a clock that moves by itself whenever everybody waits.

use std::cell::RefCell;

use super::*;

/// Calls with the default limits: three tries, 60 s, pauses of 1 s and 3 s.
fn client() -> Client {
    Client::new(
        BaseUrl::parse("http://127.0.0.1:1").unwrap(),
        Patience::default(),
    )
    .unwrap()
}

fn answered(status: u16, retry_after: Option<&'static str>) -> Try {
    let mut headers = HeaderMap::new();
    if let Some(pause) = retry_after {
        headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static(pause));
    }
    Try::Answered(StatusCode::from_u16(status).unwrap(), headers, Vec::new())
}

/// Makes one call whose tries end in `outcomes`, one after the other; `None` and every further try are never answered.
/// The result, how many tries there were, and the seconds that it took.
async fn call(client: &Client, outcomes: Vec<Option<Try>>) -> (Result<(), CallError>, u32, u64) {
    let request = Request {
        method: Method::GET,
        path: "/",
        authorization: None,
        accept: "*/*",
        content_type: None,
        body: Vec::new(),
        correlation_id: None,
        secret: None,
    };
    let tries = RefCell::new((0, outcomes.into_iter()));
    let began = Instant::now();
    let outcome = client
        .call_through(&request, async || {
            let next = {
                let (count, outcomes) = &mut *tries.borrow_mut();
                *count += 1;
                outcomes.next().flatten()
            };
            match next {
                Some(outcome) => outcome,
                None => std::future::pending().await,
            }
        })
        .await;
    (
        outcome.map(drop),
        tries.into_inner().0,
        began.elapsed().as_secs(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_passing_fault_is_tried_again_after_one_second_and_after_three() {
    for status in [429, 500, 503] {
        let fault = || Some(answered(status, None));
        let success = Some(answered(200, None));
        let outcome = call(&client(), vec![fault(), fault(), success]).await;
        assert_eq!(outcome, (Ok(()), 3, 4), "{status}");
        let (outcome, tries, seconds) = call(&client(), vec![fault(), fault(), fault()]).await;
        assert!(
            matches!(outcome, Err(CallError::Busy { tries: 3, .. })),
            "{outcome:?}"
        );
        assert_eq!((tries, seconds), (3, 4), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_that_an_answer_asks_for_is_kept() {
    let outcomes = vec![
        Some(answered(429, Some("7"))),
        Some(answered(503, Some("20"))),
        Some(answered(200, None)),
    ];
    assert_eq!(call(&client(), outcomes).await, (Ok(()), 3, 27));
}

#[tokio::test(start_paused = true)]
async fn a_pause_longer_than_the_time_left_ends_the_call_at_once() {
    let (outcome, tries, seconds) = call(&client(), vec![Some(answered(503, Some("3600")))]).await;
    let Err(CallError::Busy {
        wait: Some(wait), ..
    }) = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!((wait.as_secs(), tries, seconds), (3600, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_after_three_tries_that_share_the_time() {
    let (outcome, tries, seconds) = call(&client(), Vec::new()).await;
    assert!(
        matches!(outcome, Err(CallError::Silent { tries: 3, .. })),
        "{outcome:?}"
    );
    assert_eq!((tries, seconds), (3, 60));
    // A third of the 60 s, and the pause.
    let outcome = call(&client(), vec![None, Some(answered(200, None))]).await;
    assert_eq!(outcome, (Ok(()), 2, 21));
}

#[tokio::test(start_paused = true)]
async fn all_calls_of_a_client_share_its_time() {
    let client = client();
    tokio::time::advance(Duration::from_secs(59)).await;
    let (outcome, tries, seconds) = call(&client, Vec::new()).await;
    assert!(
        matches!(outcome, Err(CallError::Silent { tries: 1, .. })),
        "{outcome:?}"
    );
    assert_eq!((tries, seconds), (1, 0));
}
