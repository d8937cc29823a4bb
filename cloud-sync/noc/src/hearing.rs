//! Whoever is refused hears why. A request is often refused by its head; if its body were left unread, the connection would close
//! under the hands of a sender who still writes, and many of those never look whether there is an answer: a gateway would take a
//! wrong token for a bad line.

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// How much is listened to: the largest body that anybody may send. More than that is no sender of ours.
const MOST_BYTES: usize = crate::incoming::MAX_BODY_BYTES;

/// For how long: a batch over a slow line, and not so long that strangers could hold connections with it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads what no handler has read, and forgets it, before the answer goes.
pub async fn out(request: Request, next: Next) -> Response {
    // Who asks first whether to send does not send when the answer is there.
    if request.body().is_end_stream() || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let (back, mut given_back) = oneshot::channel();
    let lent = Body::from_stream(Lent { body: Some(body.into_data_stream()), back: Some(back) });
    let response = next.run(Request::from_parts(head, lent)).await;
    if let Ok(rest) = given_back.try_recv() {
        // Whatever comes of it: the answer is there.
        drop(tokio::time::timeout(PATIENCE, forget(rest)).await);
    }
    response
}

async fn forget(mut rest: BodyDataStream) {
    let mut heard = 0;
    while let Some(Ok(piece)) = rest.next().await {
        heard += piece.len();
        if heard > MOST_BYTES {
            return;
        }
    }
}

/// A body that comes back if it is dropped before its end.
struct Lent {
    body: Option<BodyDataStream>,
    back: Option<oneshot::Sender<BodyDataStream>>,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let next = Pin::new(body).poll_next(context);
        if !matches!(next, Poll::Pending | Poll::Ready(Some(Ok(_)))) {
            self.body = None;
        }
        next
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(rest), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody waits for it if the whole request was given up.
            drop(back.send(rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::routing::post;
    use axum::{Router, middleware};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn who_is_refused_by_the_head_of_a_request_may_finish_it_and_hears_why() {
        let routes = Router::new()
            .route("/", post(|| async { (StatusCode::UNAUTHORIZED, "no token") }))
            .layer(middleware::from_fn(out));
        let server = vigil_listen::Server::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        let at = server.local_addr();
        tokio::spawn(server.serve(routes, std::future::pending()));
        let mut line = TcpStream::connect(at).await.unwrap();
        let body = vec![b'x'; 300_000];
        let head = format!("POST / HTTP/1.1\r\nhost: here\r\ncontent-length: {}\r\n\r\n", body.len());
        line.write_all(head.as_bytes()).await.unwrap();
        for piece in body.chunks(100_000) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            line.write_all(piece).await.expect("the receiver still listens");
        }
        let mut answer = [0; 12];
        line.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
    }
}
