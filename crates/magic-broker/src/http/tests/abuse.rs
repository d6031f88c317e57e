//! Servers that want to hurt: each is bounded, and a call after it works.

use super::server::Reply;
use super::*;
use std::io::Write as _;

async fn against(
    address: &str,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) -> (Bench, Server) {
    let server = Server::plain(address, move |request| {
        if request.contains("/fine") {
            Reply::ok("fine")
        } else {
            reply()
        }
    })
    .await;
    let bench = Bench::allowing(&[server.entry("a.example")])
        .name("a.example", &[address])
        .limits(|limits| limits.session_bytes = 1 << 30);
    (bench, server)
}

async fn attack(bench: &Bench, server: &Server) -> Done {
    let done = bench
        .get(format!("http://a.example:{}/attack", server.port()))
        .await;
    let fine = bench
        .get(format!("http://a.example:{}/fine", server.port()))
        .await;
    assert_eq!(fine.ok()["body"], "fine");
    done
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Bodies without an end, with and without a length, in chunks, and those that announce too much.
#[tokio::test]
async fn endless_bodies() {
    for (head, again) in [
        ("HTTP/1.1 200 OK\r\n\r\n", vec![b'x'; 65_536]),
        ("HTTP/1.0 200 OK\r\n\r\n", vec![b'x'; 65_536]),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            bytes("8\r\n01234567\r\n").repeat(4096),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n",
            vec![b'x'; 65_536],
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n",
            vec![b'x'; 65_536],
        ),
    ] {
        let (bench, server) = against("127.77.4.1", move || {
            Reply::Endless(bytes(head), again.clone())
        })
        .await;
        let done = attack(&bench, &server).await;
        done.refused(ErrorCode::BudgetExceeded, "budget", "bytes");
        let received = done.facts["response_bytes"].as_u64().unwrap();
        assert!(received < 64 << 20, "{head}: {received}");
    }
}

/// A body of just the limit passes, one byte more does not.
#[tokio::test]
async fn the_limit_is_exact() {
    for (size, passes) in [(5 << 20, true), ((5 << 20) + 1, false)] {
        for head in [
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n"),
        ] {
            let (bench, server) = against("127.77.4.2", move || {
                let mut reply = bytes(&head);
                reply.resize(reply.len() + size, b'\x01');
                Reply::Bytes(reply)
            })
            .await;
            let done = attack(&bench, &server).await;
            if passes {
                let told = done.ok();
                assert_eq!(
                    told["body_base64"].as_str().unwrap().len(),
                    size.div_ceil(3) * 4
                );
                assert!(told.to_string().len() < FRAME_LIMIT);
            } else {
                done.refused(ErrorCode::BudgetExceeded, "budget", "bytes");
            }
        }
    }
}

/// A megabyte of gzip that holds a gigabyte.
#[tokio::test]
async fn gzip_bombs() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let (bench, server) = against("127.77.4.3", move || {
        Reply::answer("200 OK", &[("content-encoding", "gzip")], &bomb)
    })
    .await;
    attack(&bench, &server)
        .await
        .refused(ErrorCode::BudgetExceeded, "budget", "bytes");
}

/// Heads without an end: many lines, one long line, folded ones, interim answers.
#[tokio::test]
async fn endless_heads() {
    let head = "HTTP/1.1 200 OK\r\n";
    for (first, again) in [
        (bytes(head), bytes("x-a: b\r\n").repeat(1000)),
        (bytes(&format!("{head}x-a: ")), vec![b'x'; 4096]),
        (vec![], vec![b'x'; 4096]),
        (
            vec![],
            bytes("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n").repeat(100),
        ),
        (vec![], bytes("HTTP/1.1 100 Continue\r\n\r\n").repeat(100)),
    ] {
        let (bench, server) = against("127.77.4.4", move || {
            Reply::Endless(first.clone(), again.clone())
        })
        .await;
        let done = attack(&bench, &server).await;
        let received = done.facts["response_bytes"].as_u64().unwrap();
        assert!(received < 1 << 20, "{received}");
        match done.failure().code {
            ErrorCode::BudgetExceeded => assert_eq!(done.failure().details["budget"], "bytes"),
            // A line of nothing but x is no status line.
            _ => done.broke(true),
        }
    }
    let (bench, server) = against("127.77.4.5", || {
        let lines = "x-a: b\r\n".repeat(100_000);
        Reply::Bytes(bytes(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")))
    })
    .await;
    attack(&bench, &server)
        .await
        .refused(ErrorCode::BudgetExceeded, "budget", "bytes");
    let (bench, server) = against("127.77.4.6", || {
        let lines = "x-a: b\r\n".repeat(100);
        Reply::Bytes(bytes(&format!(
            "HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok"
        )))
    })
    .await;
    assert_eq!(attack(&bench, &server).await.ok()["body"], "ok");
}

/// Chunk extensions and trailers without an end carry no body and are bytes all the same.
#[tokio::test]
async fn endless_framing() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (first, again) in [
        (format!("{head}1;x="), vec![b'y'; 4096]),
        (format!("{head}0\r\n"), bytes("x-a: b\r\n").repeat(512)),
        (format!("{head}0\r\nx-a: "), vec![b'y'; 4096]),
    ] {
        let (bench, server) = against("127.77.4.7", move || {
            Reply::Endless(bytes(&first), again.clone())
        })
        .await;
        let done = attack(&bench, &server).await;
        assert!(done.result.is_err());
        assert!(done.facts["response_bytes"].as_u64() < Some(1 << 20));
    }
}

/// Framing that is wrong, and connections that end early: failures that may pass.
#[tokio::test]
async fn broken_answers() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for reply in [
        String::new(),
        "HTTP/1.1 200".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(),
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("{chunked}zz\r\n"),
        format!("{chunked}5\r\nabc"),
        format!("{chunked}ffffffffffffffffff\r\na"),
        format!("{chunked}1\r\nab\r\n"),
        "HTTP/9.9 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 999999 OK\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
        "<html>an old server</html>".to_owned(),
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n".to_owned(),
    ] {
        let text = reply.clone();
        let (bench, server) = against("127.77.4.8", move || Reply::Bytes(bytes(&text))).await;
        let done = attack(&bench, &server).await;
        assert!(done.result.is_err(), "{reply:?}");
        done.broke(true);
        assert!(done.failure().message.len() < 200);
    }
    let (bench, server) = against("127.77.4.9", || {
        Reply::Bytes(bytes(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        ))
    })
    .await;
    attack(&bench, &server).await.broke(false);
}

/// TLS that is cut off where only the end of the connection ends a body is no whole answer.
#[tokio::test]
async fn a_cut_off_tls_body_is_seen() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let acceptor = Authority::get().acceptor(&["a.example"], false);
    let listener = tokio::net::TcpListener::bind(("127.77.4.10", 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nthe first half")
                .await
                .unwrap();
            stream.flush().await.unwrap();
            // Closing the socket underneath leaves out the notice that TLS is over.
            drop(stream);
        }
    });
    let bench = Bench::allowing(&[format!("a.example:{port}")]).name("a.example", &["127.77.4.10"]);
    bench
        .get(format!("https://a.example:{port}/"))
        .await
        .broke(true);
    task.abort();
}

/// Slow answers end with the call's own time or with the execution's, whichever is first.
#[tokio::test]
async fn slow_answers_end_in_time() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    for is_silent in [true, false] {
        let (mut bench, server) = against("127.77.4.11", move || {
            if is_silent {
                Reply::Silence
            } else {
                Reply::Drip(bytes(head).repeat(100))
            }
        })
        .await;
        let url = format!("http://a.example:{}/", server.port());
        let started = Instant::now();
        let done = bench
            .call(json!({"method": "GET", "url": url, "timeout_ms": 150}))
            .await;
        done.broke(true);
        assert!(
            done.failure().message.contains("150 ms"),
            "{}",
            done.failure()
        );
        bench.deadline = Duration::from_millis(150);
        let done = bench
            .call(json!({"method": "GET", "url": url, "timeout_ms": 60_000}))
            .await;
        assert_eq!(done.failure().code, ErrorCode::Timeout);
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    let (bench, server) = against("127.77.4.12", || {
        Reply::Drip(bytes("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
    })
    .await;
    assert_eq!(attack(&bench, &server).await.ok()["body"], "ok");
}

/// A name that is not resolved in time ends like an answer that is not given in time.
#[tokio::test]
async fn slow_names_end_in_time() {
    let mut bench = Bench::allowing(&["a.example".to_owned()]);
    let egress = Egress::with_resolver(bench.options.clone(), Resolver::system(0)).unwrap();
    let session = EgressSession::new(Arc::new(egress), Arc::new(NoSecrets));
    assert!(bench.session.set(session).is_ok());
    let params = json!({"method": "GET", "url": "https://a.example/", "timeout_ms": 100});
    let done = bench.call(params).await;
    done.broke(true);
    assert!(
        done.failure().message.contains("100 ms"),
        "{}",
        done.failure()
    );
    bench.deadline = Duration::from_millis(100);
    let done = bench.get("https://a.example/").await;
    assert_eq!(done.failure().code, ErrorCode::Timeout);
    assert_eq!(bench.announced(), 0);
}

/// A body that is no text, or text in another charset, arrives byte for byte.
#[tokio::test]
async fn bytes_stay_bytes() {
    let (bench, server) = against("127.77.4.13", || {
        Reply::answer(
            "200 OK",
            &[("content-type", "text/plain; charset=utf-8")],
            b"caf\xe9",
        )
    })
    .await;
    let told = attack(&bench, &server).await.ok();
    assert_eq!(
        (&told["body"], &told["body_base64"]),
        (&Value::Null, &json!("Y2Fm6Q=="))
    );
}
