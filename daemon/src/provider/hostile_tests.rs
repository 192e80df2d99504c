//! What a network and a provider can do to a question: rows 27 to 33 of the fault table, for every kind of provider.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use picket_core::{ProviderFault, limits, said::Said, time::Span};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::AsyncWriteExt;

use super::tests_support::{KINDS, Server, answer, ask, configure, dog, fault, named, question, request};
use crate::ports::Question;

const HTML: &[u8] = b"<!DOCTYPE html><html><body>Please accept our terms</body></html>";

#[tokio::test]
async fn a_rest_that_fits_is_kept_and_the_question_asked_again() {
    for kind in KINDS {
        let good = dog(kind);
        let limited = answer("429 Too Many Requests", "Retry-After: 9\r\nretry-after-ms: 300\r\n", b"{}");
        let server = Server::start(move |n, _, _| if n == 1 { limited.clone() } else { good.clone() }).await;
        let started = Instant::now();
        let upstream = configure(kind, &server.url, "").unwrap().provider.ask(question(10_000)).await.unwrap();
        assert_eq!((upstream.said.class(), server.asked()), (1, 2), "{}", kind.name());
        assert!(started.elapsed() >= Duration::from_millis(300), "{}: {:?}", kind.name(), started.elapsed());
    }
}

#[tokio::test]
async fn a_rest_that_does_not_fit_is_reported_and_nobody_is_asked_meanwhile() {
    for kind in KINDS {
        for headers in [
            "Retry-After: 60\r\n",
            "Retry-After: Wed, 21 Oct 2026 07:29:00 GMT\r\nDate: Wed, 21 Oct 2026 07:28:00 GMT\r\n",
        ] {
            for status in ["429 Too Many Requests", "503 Service Unavailable", "529 Overloaded"] {
                let server = Server::saying(answer(status, headers, b"{\"error\":\"busy\"}")).await;
                let provider = configure(kind, &server.url, "").unwrap().provider;
                let started = Instant::now();
                let (kind_of_fault, why) = provider.ask(question(10_000)).await.unwrap_err();
                assert_eq!(kind_of_fault, ProviderFault::Limited(Span::from_millis(60_000)), "{} {why}", kind.name());
                assert!(why.contains("busy"), "{why}");
                let ProviderFault::Limited(left) = fault(provider.ask(question(10_000)).await) else { panic!() };
                assert!(left > Span::from_millis(50_000) && left <= Span::from_millis(60_000), "{left:?}");
                assert_eq!(server.asked(), 1, "{} {status}: it wanted to be left alone", kind.name());
                assert!(started.elapsed() < Duration::from_secs(5), "nobody waits in vain");
            }
        }
    }
}

#[tokio::test]
async fn passing_trouble_is_retried_and_a_storm_is_not_fed() {
    for kind in KINDS {
        let good = dog(kind);
        let failing = answer("500 Oops", "", b"");
        let server = Server::start(move |n, _, _| if n < 3 { failing.clone() } else { good.clone() }).await;
        let upstream = configure(kind, &server.url, "").unwrap().provider.ask(question(10_000)).await;
        assert_eq!((upstream.unwrap().said.class(), server.asked()), (1, 3), "{}", kind.name());

        let server =
            Server::saying(answer("503 Service Unavailable", "", b"{\"error\":{\"message\":\"no GPU\"}}")).await;
        let provider = configure(kind, &server.url, "").unwrap().provider;
        let (first, why) = provider.ask(question(10_000)).await.unwrap_err();
        assert_eq!((first, server.asked()), (ProviderFault::Failing, 3), "{}: {why}", kind.name());
        assert!(why.contains("503") && why.contains("no GPU") && why.contains("attempt 3"), "{why}");
        for _ in 1..60 {
            assert_eq!(fault(provider.ask(question(10_000)).await), ProviderFault::Failing);
        }
        assert_eq!(server.asked(), 60 + 35, "{}: 500 tokens, 14 a retry", kind.name());
    }
}

/// While the board is hot, nobody works on retries.
#[tokio::test]
async fn a_question_that_may_be_sent_once_is_sent_once() {
    for kind in KINDS {
        let server = Server::saying(answer("503 Service Unavailable", "", b"")).await;
        let provider = configure(kind, &server.url, "").unwrap().provider;
        let hot = Question { attempts: 1, ..question(10_000) };
        assert_eq!((fault(provider.ask(hot).await), server.asked()), (ProviderFault::Failing, 1), "{}", kind.name());
    }
}

#[tokio::test]
async fn what_may_have_been_worked_on_is_not_asked_twice() {
    for kind in KINDS {
        for (bytes, expected) in [
            (answer("504 Gateway Timeout", "", b""), ProviderFault::TooSlow),
            (answer("400 Bad Request", "", b""), ProviderFault::Refused),
            (answer("401 Unauthorized", "", b""), ProviderFault::Unauthorised),
            (answer("403 Forbidden", "", b""), ProviderFault::Unauthorised),
            (Vec::new(), ProviderFault::Unreachable),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec(), ProviderFault::Unreachable),
        ] {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let server = Server::saying(bytes).await;
            let result = configure(kind, &server.url, "").unwrap().provider.ask(question(5_000)).await;
            assert_eq!((fault(result), server.asked()), (expected, 1), "{} {text:?}", kind.name());
        }
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    for kind in KINDS {
        let server = Server::saying(Vec::new()).await;
        let url = server.url.clone();
        drop(server);
        let started = Instant::now();
        let result = configure(kind, &url, "").unwrap().provider.ask(question(5_000)).await;
        assert_eq!(fault(result), ProviderFault::Unreachable, "{}", kind.name());
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn silence_and_trickles_end_with_the_patience() {
    for kind in KINDS {
        for (start, phase) in
            [("", "head"), ("HTTP/1.1 200 OK\r\nX: ", "head"), ("HTTP/1.1 200 OK\r\n\r\n", "was read")]
        {
            let server = Server::raw(move |_, mut stream| async move {
                request(&mut stream).await;
                stream.write_all(start.as_bytes()).await.unwrap();
                // One byte at a time, for ever; without a start not even that.
                while !start.is_empty() && stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                std::future::pending::<()>().await;
            })
            .await;
            let started = Instant::now();
            let provider = configure(kind, &server.url, "").unwrap().provider;
            let (kind_of_fault, why) = provider.ask(question(400)).await.unwrap_err();
            assert_eq!(kind_of_fault, ProviderFault::TooSlow, "{} {start:?}: {why}", kind.name());
            assert!(why.contains(phase), "{} {start:?}: {why}", kind.name());
            let took = started.elapsed();
            assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(3), "{took:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_stalls_is_given_up_before_the_patience_ends() {
    let server = Server::raw(|_, mut stream| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let started = Instant::now();
    let provider = configure(KINDS[1], &server.url, "").unwrap().provider;
    let (kind_of_fault, why) = provider.ask(question(60_000)).await.unwrap_err();
    assert_eq!(kind_of_fault, ProviderFault::TooSlow, "{why}");
    assert!(why.contains("stalled") && started.elapsed() < Duration::from_secs(30), "{why}");
}

#[tokio::test]
async fn a_captive_portal_is_no_answer_and_no_provider() {
    for kind in KINDS {
        for bytes in [
            answer("200 OK", "Content-Type: text/html\r\n", HTML),
            answer("200 OK", "Content-Type: application/json\r\n", HTML),
            answer("200 OK", "", b"\r\n <html>please log in</html>"),
            answer("302 Found", "Location: http://portal.example/login?for=me\r\n", b""),
            answer("307 Temporary Redirect", "Location: //portal.example/\r\n", HTML),
            answer("511 Network Authentication Required", "", HTML),
        ] {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(fault(ask(kind, bytes).await), ProviderFault::CaptivePortal, "{} {text:?}", kind.name());
        }
        let here = answer("301 Moved Permanently", "Location: /v3\r\n", HTML);
        assert_eq!(fault(ask(kind, here).await), ProviderFault::Refused, "{}: the URL is wrong", kind.name());
        let failing = answer("404 Not Found", "Content-Type: text/html\r\n", HTML);
        assert_eq!(fault(ask(kind, failing).await), ProviderFault::Refused, "{}: an error page", kind.name());
    }
}

#[tokio::test]
async fn rubbish_is_a_bad_answer() {
    let json = |body: &[u8]| answer("200 OK", "", body);
    for kind in KINDS {
        for bytes in [
            json(b""),
            json(b"{"),
            json(b"null"),
            json(b"[]"),
            json(b"\"dog\""),
            json(b"{\"choices\":[],\"content\":{},\"outputs\":7}"),
            json(b"{\"choices\":[{\"message\":{\"content\":null}}],\"content\":[],\"outputs\":[]}"),
            json(b"{\"choices\":[{\"message\":{\"content\":\"a fish\"}}],\"content\":[{\"text\":\"cat or dog\"}],\"outputs\":[]}"),
            json(&[0xff; 300]),
            json("[".repeat(500_000).as_bytes()),
            json(format!("{{\"choices\":{0}1{1},\"content\":{0}1{1}}}", "[".repeat(5_000), "]".repeat(5_000)).as_bytes()),
            b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n{}".to_vec(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}".to_vec(),
        ] {
            let text: String = String::from_utf8_lossy(&bytes).chars().take(120).collect();
            let (kind_of_fault, why) = ask(kind, bytes).await.unwrap_err();
            assert_eq!(kind_of_fault, ProviderFault::BadAnswer, "{} {text:?}: {why}", kind.name());
            assert!(why.chars().count() < 1_000 && !why.contains('\n'), "{why}");
        }
    }
}

/// Without an end, by length, in chunks, or in the head: no more is read than an answer may have.
#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    for kind in KINDS {
        let chunk: &'static [u8] = &[b' '; 65_536];
        for (start, each) in [
            ("HTTP/1.1 200 OK\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10000\r\n"),
            ("HTTP/1.1 200 OK\r\nX-Long:", ""),
        ] {
            let (done, sent) = std::sync::mpsc::sync_channel(1);
            let server = Server::raw(move |_, mut stream| {
                let done = done.clone();
                async move {
                    request(&mut stream).await;
                    stream.write_all(start.as_bytes()).await.unwrap();
                    let mut sent = 0usize;
                    let end: &[u8] = if each.is_empty() { b"" } else { b"\r\n" };
                    let piece = [each.as_bytes(), chunk, end].concat();
                    while stream.write_all(&piece).await.is_ok() {
                        sent += piece.len();
                    }
                    done.send(sent).unwrap();
                }
            })
            .await;
            let result = configure(kind, &server.url, "").unwrap().provider.ask(question(20_000)).await;
            assert_eq!(fault(result), ProviderFault::BadAnswer, "{} {start:?}", kind.name());
            let sent = tokio::task::spawn_blocking(move || sent.recv_timeout(Duration::from_secs(20))).await.unwrap();
            let sent = sent.expect("the client hangs up");
            let most = limits::MAX_PROVIDER_BYTES + (16 << 20);
            assert!(sent < most, "{} {start:?}: the sockets' buffers and no more, not {sent} bytes", kind.name());
        }
    }
}

#[tokio::test]
async fn what_comes_packed_is_not_unpacked() {
    for kind in KINDS {
        // A gigabyte of spaces, as gzip packs the start of it; nobody looks inside.
        let bomb = answer("200 OK", "Content-Encoding: gzip\r\n", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1]);
        let (kind_of_fault, why) = ask(kind, bomb).await.unwrap_err();
        assert_eq!(kind_of_fault, ProviderFault::BadAnswer);
        assert!(why.contains("compressed"), "{why}");
        let server = Server::start(move |_, head, _| {
            assert!(!head.to_lowercase().contains("accept-encoding"), "{head}");
            dog(kind)
        })
        .await;
        configure(kind, &server.url, "").unwrap().provider.ask(question(5_000)).await.unwrap();
    }
}

/// Answers that nobody asked for, behind the one that was: the next question gets its own.
#[tokio::test]
async fn a_second_answer_on_the_same_connection_is_nobodys() {
    for kind in KINDS {
        let server = Server::raw(move |number, mut stream| async move {
            while request(&mut stream).await.is_some() {
                let own = named(kind, if number == 1 { "dog" } else { "bird" });
                let _ = stream.write_all(&[own, named(kind, "cat")].concat()).await;
            }
        })
        .await;
        let provider = configure(kind, &server.url, "").unwrap().provider;
        assert_eq!(provider.ask(question(5_000)).await.unwrap().said.class(), 1);
        let second = provider.ask(question(5_000)).await;
        assert!(second.as_ref().is_ok_and(|upstream| upstream.said == Said::Class(2)), "{} {second:?}", kind.name());
    }
}

#[tokio::test]
async fn a_secret_that_is_echoed_is_in_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-canary-1234567890\n").unwrap();
    for kind in KINDS {
        let key = if kind.name() == "oip" { "token_file" } else { "key_file" };
        for status in ["401 Unauthorized", "200 OK", "302 Found"] {
            let server = Server::start(move |_, head, _| {
                assert!(head.contains("sk-canary-1234567890"), "{head}");
                let told = format!("{{\"error\":\"{}\"}}", head.replace(['\r', '\n', '"'], " ").trim());
                answer(status, "Location: http://x.example/sk-canary-1234567890\r\n", told.as_bytes())
            })
            .await;
            let provider = configure(kind, &server.url, &format!("{key} = {file:?}")).unwrap().provider;
            let (_, why) = provider.ask(question(5_000)).await.unwrap_err();
            assert!(!why.contains("canary") && !why.contains("567890"), "{} {status}: {why}", kind.name());
        }
    }
}

/// A server with a certificate for this name, valid until the end of that year; its URL, and its CA in a file.
fn secure(folder: &std::path::Path, name: &str, last_year: i32) -> (String, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Plant CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca_file = folder.join(format!("{name}-{last_year}.pem"));
    std::fs::write(&ca_file, params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 12, 31));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
    super::use_ring();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = std::sync::Arc::new(config);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut head = Vec::new();
            let mut byte = [0];
            // The body of the request stays unread; the answer does not need it.
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            if head.ends_with(b"\r\n\r\n") {
                let _ = stream.write_all(&dog(KINDS[1]));
                let _ = stream.read(&mut [0; 4096]);
            }
        }
    });
    (url, format!("ca_file = {ca_file:?}"))
}

#[tokio::test]
async fn a_certificate_that_is_not_to_be_trusted_is_called_by_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (good, its_ca) = secure(folder.path(), "127.0.0.1", 2090);
    let (old, old_ca) = secure(folder.path(), "127.0.0.1", 2021);
    let (other, other_ca) = secure(folder.path(), "provider.example", 2090);
    let speaks_plainly = Server::raw(|_, mut stream| async move {
        let _ = stream.write_all(&answer("400 Bad Request", "", b"speak plainly")).await;
    })
    .await;
    let plain = speaks_plainly.url.replace("http:", "https:");
    let ask = async |url: &str, ca: &str| configure(KINDS[1], url, ca).unwrap().provider.ask(question(5_000)).await;
    assert_eq!(ask(&good, &its_ca).await.unwrap().said.class(), 1);
    for (url, ca, code) in [
        (&old, &old_ca, "tls/expired"),
        (&other, &other_ca, "tls/name-mismatch"),
        (&good, &other_ca, "tls/unknown-ca"),
        (&plain, &its_ca, "tls/failed"),
    ] {
        let (kind_of_fault, why) = ask(url, ca).await.unwrap_err();
        assert_eq!(kind_of_fault, ProviderFault::Untrusted(code), "{why}");
        assert!(kind_of_fault.code() == code && why.contains(code), "{why}");
        assert_eq!(why.contains("clock"), code == "tls/expired", "{why}");
    }
}
