//! The rim: what real clients and real networks do to a connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Gateway, hello, hello_stream};
use crate::upstream::{Step, Upstream, chunk, completion, json, stream_head};

const DELTA: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";

impl Gateway {
    /// A connection of one's own to the data plane.
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.base.trim_start_matches("http://").trim_end_matches("/v1")).await.unwrap()
    }

    /// A chat request as bytes.
    fn request(&self, body: &str) -> String {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
    }
}

/// Reads until the text is there.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut got = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&got).contains(text) {
            if stream.read_buf(&mut got).await.unwrap() == 0 {
                break;
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), read).await;
    let got = String::from_utf8_lossy(&got).into_owned();
    assert!(in_time.is_ok() && got.contains(text), "no `{text}` in: {got}");
    got
}

#[tokio::test]
async fn what_a_client_sends_too_early_holds_no_answer_back() {
    let silent = vec![stream_head(), chunk(DELTA), Step::Hang];
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1)), silent]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    // Some clients send an empty line after a body; others send their next request at once.
    let mut stream = gateway.connect().await;
    stream.write_all(format!("{}\r\n", gateway.request(&hello("auto"))).as_bytes()).await.unwrap();
    read_until(&mut stream, "\"hi\"").await;
    let mut stream = gateway.connect().await;
    let early = format!("{}GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", gateway.request(&hello_stream("auto")));
    stream.write_all(early.as_bytes()).await.unwrap();
    read_until(&mut stream, "\"content\":\"a\"").await;
}

#[tokio::test]
async fn what_is_no_http_is_told_so() {
    let gateway = Gateway::start(None, None, None).await;
    for (sent, status) in [
        ("GET /v1/models HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n".to_owned(), " 400 "),
        (format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(500)), " 431 "),
    ] {
        let mut stream = gateway.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        read_until(&mut stream, status).await;
    }
}
