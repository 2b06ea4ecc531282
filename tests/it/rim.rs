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

/// Reads what is missing of an answer with a told length.
async fn read_on(stream: &mut TcpStream, told: &str) {
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
    let mut rest = vec![0; length - body.len()];
    stream.read_exact(&mut rest).await.unwrap();
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

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_the_body_is_heard_and_the_connection_lives_on() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let mut stream = gateway.connect().await;
    let half = "x".repeat(200_000);
    for (path, key, want) in [
        ("/v1/chat/completions", "nobody", "invalid_api_key"),
        ("/v1/nothing", gateway.key.as_str(), "unknown_path"),
        ("/v1/models", gateway.key.as_str(), "method_not_allowed"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 400000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(half.as_bytes()).await.unwrap();
        let told = read_until(&mut stream, want).await;
        assert!(!told.contains("connection: close"), "{told}");
        read_on(&mut stream, &told).await;
    }
    stream.write_all(gateway.request(&hello("auto")).as_bytes()).await.unwrap();
    read_until(&mut stream, "\"hi\"").await;
}

#[tokio::test]
async fn who_waits_to_be_told_to_send_a_body_that_nobody_wants_is_answered_at_once() {
    let gateway = Gateway::start(None, None, None).await;
    let mut stream = gateway.connect().await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer nobody\r\nexpect: 100-continue\r\ncontent-length: 400000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let told = read_until(&mut stream, "invalid_api_key").await;
    assert!(told.starts_with("HTTP/1.1 401 ") && told.contains("connection: close"), "{told}");
}
