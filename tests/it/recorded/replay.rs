//! An upstream that gives every request the recorded answer whose id its model name holds, cut anywhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::exchange::Exchange;

/// Stands before the id of an exchange in a model's name.
pub(crate) const MARK: &str = "replay-";

/// What of an answer's head is the connection's and not the provider's.
const HOP: [&str; 6] = ["transfer-encoding", "content-length", "connection", "content-encoding", "keep-alive", "date"];

/// Pieces of a stream are so long: no boundary of anything.
const PIECE: usize = 509;

#[derive(Clone)]
pub(crate) struct Replay {
    pub(crate) url: String,
    exchanges: Arc<BTreeMap<String, Arc<Exchange>>>,
    /// The body of the last request for each model name.
    seen: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Replay {
    pub(crate) async fn start(exchanges: &[Arc<Exchange>]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let replay = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            exchanges: Arc::new(exchanges.iter().map(|x| (x.id.clone(), Arc::clone(x))).collect()),
            seen: Arc::default(),
        };
        let this = replay.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.talk(stream).await });
            }
        });
        replay
    }

    /// What the upstream was sent for that model name.
    pub(crate) fn seen(&self, model: &str) -> Option<String> {
        self.seen.lock().unwrap().get(model).cloned()
    }

    async fn talk(&self, mut stream: TcpStream) -> Option<()> {
        let mut buffer = Vec::new();
        loop {
            let (head, body) = request(&mut stream, &mut buffer).await?;
            let model = marked(&head).or_else(|| marked(&body))?;
            let exchange = self.exchanges.get(model.strip_prefix(MARK)?.split("--").next()?)?;
            let answer = answer(exchange);
            self.seen.lock().unwrap().insert(model, body);
            stream.write_all(&answer).await.ok()?;
        }
    }
}

/// The first model name in a text that names an exchange.
fn marked(text: &str) -> Option<String> {
    let at = text.find(MARK)?;
    let end = text[at..].find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    Some(text[at..end.map_or(text.len(), |end| at + end)].to_owned())
}

fn answer(exchange: &Exchange) -> Vec<u8> {
    let body = exchange.answer();
    let mut out = format!("HTTP/1.1 {} X\r\n", exchange.status);
    let headers = &exchange.response.headers;
    for (name, value) in headers.iter().filter(|(name, _)| !HOP.contains(&name.as_str())) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        out += &format!("{name}: {}\r\n", value.replace(['\r', '\n'], " "));
    }
    if !headers.contains_key("content-type") {
        let kind = match exchange.wire_format.as_str() {
            "sse" => "text/event-stream",
            "aws-eventstream" => "application/vnd.amazon.eventstream",
            "ndjson" => "application/x-ndjson",
            _ => "application/json",
        };
        out += &format!("content-type: {kind}\r\n");
    }
    let mut out = out.into_bytes();
    if exchange.streamed() {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        for piece in body.chunks(PIECE) {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
    } else {
        out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(&body);
    }
    out
}

/// The next request of a connection: head and body.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String)> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse::<usize>().unwrap())
    });
    let length = length.unwrap_or(0);
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&buffer[end..end + length]).into_owned();
    buffer.drain(..end + length);
    Some((head, body))
}
