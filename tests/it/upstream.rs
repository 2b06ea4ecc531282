//! A scripted upstream: plays bytes, exactly as told, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Bytes, as they are.
    Send(Vec<u8>),
    /// A pause.
    Wait(Duration),
    /// Nothing more, but the connection stays.
    Hang,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    /// A header's value; empty = it was not sent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let line = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        line.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next().unwrap_or("")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// The upstream. Each request has its own connection and takes the next script; the last one repeats.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    scripts: Arc<Mutex<Vec<Vec<Step>>>>,
    closed: Arc<Mutex<usize>>,
}

impl Upstream {
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            scripts: Arc::new(Mutex::new(scripts)),
            closed: Arc::default(),
        };
        let this = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.talk(stream).await });
            }
        });
        upstream
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections the gateway closed while an answer was still to come.
    pub(crate) fn closed(&self) -> usize {
        *self.closed.lock().unwrap()
    }

    async fn talk(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        if let Some(seen) = read_request(&mut stream, &mut buffer).await {
            self.seen.lock().unwrap().push(seen);
            let script = {
                let mut scripts = self.scripts.lock().unwrap();
                if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() }
            };
            for step in script {
                match step {
                    Step::Send(bytes) => {
                        if stream.write_all(&bytes).await.is_err() {
                            *self.closed.lock().unwrap() += 1;
                            return;
                        }
                    }
                    Step::Wait(pause) => {
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            _ = stream.read_u8() => {
                                *self.closed.lock().unwrap() += 1;
                                return;
                            }
                        }
                    }
                    Step::Hang => {
                        let _ = stream.read_u8().await;
                        *self.closed.lock().unwrap() += 1;
                        return;
                    }
                }
            }
        }
    }
}

pub(crate) async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let length = head
        .lines()
        .find_map(|l| {
            l.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse::<usize>().unwrap())
        })
        .unwrap_or(0);
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&buffer[end..end + length]).into_owned();
    buffer.drain(..end + length);
    Some(Seen { head, body })
}

/// A whole JSON answer.
pub(crate) fn json(status: u16, body: &str) -> Vec<Step> {
    json_with(status, &[], body)
}

/// A whole JSON answer with headers.
pub(crate) fn json_with(status: u16, headers: &[&str], body: &str) -> Vec<Step> {
    let extra: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{extra}\r\n",
        body.len()
    );
    vec![Step::Send([head.as_bytes(), body.as_bytes()].concat())]
}

/// The head of a stream that ends with the connection.
pub(crate) fn stream_head() -> Step {
    Step::Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())
}

/// One piece of a stream.
pub(crate) fn chunk(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// The end of a stream.
pub(crate) fn stream_end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

/// A plain OpenAI answer with usage.
pub(crate) fn completion(text: &str, input: u64, output: u64) -> String {
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m-1","x_vendor":{{"kept":[1]}},"choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}}}"#,
        input + output
    )
}
