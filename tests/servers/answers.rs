//! The answers of an object store over HTTP for which a retry is useless: each is one
//! sentence at once, with the variable to set.
//!
//! The server here only answers; it stores nothing.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use slatedb::object_store::aws::{AmazonS3, AmazonS3Builder};
use slatedb::object_store::{ClientOptions, RetryConfig};
use state_migration::{Error, SlateDbStore};

const NOTHING_LISTED: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult></ListBucketResult>";

/// A server that answers every request with the same status and document, except lists
/// if these succeed.
struct Server {
    endpoint: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn answers(status: &'static str, code: &'static str, lists: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let counter = counter.clone();
                std::thread::spawn(move || {
                    let _ = answer(connection.unwrap(), status, code, lists, &counter);
                });
            }
        });
        Self { endpoint, requests }
    }
}

fn answer(
    connection: TcpStream,
    status: &str,
    code: &str,
    lists: bool,
    requests: &AtomicUsize,
) -> std::io::Result<()> {
    let mut to = connection.try_clone()?;
    let mut from = BufReader::new(connection);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.to_ascii_lowercase());
        }
        let length = head
            .iter()
            .find_map(|it| it.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |it| it.trim().parse().unwrap());
        from.read_exact(&mut vec![0; length])?;
        requests.fetch_add(1, Ordering::SeqCst);
        let is_list = head[0].starts_with("get ") && head[0].contains("list-type=2");
        let (status, body) = match is_list && lists {
            true => ("200 OK", NOTHING_LISTED.to_owned()),
            false => (
                status,
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n<Code>{code}</Code>\n<Message>The server says no.</Message>\n</Error>"
                ),
            ),
        };
        let length = body.len();
        write!(
            to,
            "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        to.flush()?;
    }
}

fn bucket(endpoint: &str, allow_http: bool) -> AmazonS3 {
    let retry = RetryConfig {
        max_retries: 1,
        retry_timeout: Duration::from_secs(10),
        ..RetryConfig::default()
    };
    AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_region("us-east-1")
        .with_bucket_name("shop")
        .with_access_key_id("tests")
        .with_secret_access_key("tests-only")
        .with_client_options(ClientOptions::new().with_allow_http(allow_http))
        .with_retry(retry)
        .build()
        .unwrap()
}

/// The errors of a reader and of a writer, each within two seconds.
async fn refused(endpoint: &str, allow_http: bool) -> [Error; 2] {
    let builder = || {
        SlateDbStore::builder("orders", Arc::new(bucket(endpoint, allow_http)))
            .location("s3://shop/orders")
    };
    let began = Instant::now();
    let read = builder().open_reader().await.err().unwrap();
    let written = builder().open_unless_in_use().await.err().unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}: {read}; {written}");
    [read, written]
}

#[track_caller]
fn says(error: &Error, expected: &str) {
    let text = error.to_string();
    let start = "the store s3://shop/orders cannot be opened: ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains('\n') && !text.contains("<?xml"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_a_server_has_its_own_sentence_without_retries() {
    for (status, code, expected) in [
        (
            "403 Forbidden",
            "SignatureDoesNotMatch",
            "the object store rejected the credentials or their signature; correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            "403 Forbidden",
            "AccessDenied",
            "the object store denied access; allow the account to list, read, write and delete objects, or set AWS_ACCESS_KEY_ID",
        ),
        (
            "404 Not Found",
            "NoSuchBucket",
            "the bucket does not exist; create the bucket, or correct the store URL or AWS_ENDPOINT or AWS_REGION",
        ),
        (
            "301 Moved Permanently",
            "PermanentRedirect",
            "the bucket is in another region; set AWS_REGION",
        ),
    ] {
        let server = Server::answers(status, code, false);
        for error in refused(&server.endpoint, true).await {
            says(&error, expected);
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), 2, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_conditional_writes_is_refused() {
    let server = Server::answers("501 Not Implemented", "NotImplemented", true);
    let builder = SlateDbStore::builder("orders", Arc::new(bucket(&server.endpoint, true)));
    let builder = builder.location("s3://shop/orders");
    let error = builder.open_unless_in_use().await.err().unwrap();
    says(
        &error,
        "this object store does not check conditions of writes",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_the_client_refuses_name_the_variable_that_allows_them() {
    let server = Server::answers("200 OK", "None", true);
    for error in refused(&server.endpoint, false).await {
        says(&error, "set AWS_ALLOW_HTTP=true, or use https://");
    }
    for error in refused("http://nowhere.invalid", true).await {
        says(
            &error,
            "the host name of the object store cannot be resolved; correct AWS_ENDPOINT or AWS_REGION",
        );
    }
}
