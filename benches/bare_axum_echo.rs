//! The yardstick of `dev/bench`: axum answering a POST with its own body, and nothing else.

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    #[expect(
        clippy::disallowed_methods,
        reason = "the yardstick is what axum does by itself"
    )]
    axum::serve(
        listener,
        Router::new().route("/postback", post(|body: Bytes| async { body })),
    )
    .await
}
