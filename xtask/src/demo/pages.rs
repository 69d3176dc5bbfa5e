//! A web server for one folder of static files, on loopback, for the demo alone.
//!
//! A fixed map from path to bytes is read at start, so a request can name nothing else, whatever it contains. All is
//! bounded: threads, size and time of a request, time of an answer. One request for each connection.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};
use crate::web;

/// Connections served at once; more wait in the listener's queue.
const THREADS: usize = 24;
const MAX_HEAD: usize = 8 * 1024;
const HEAD_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Site {
    files: BTreeMap<String, File>,
    policy: String,
}

#[derive(Debug)]
struct File {
    media: &'static str,
    bytes: Vec<u8>,
}

impl Site {
    /// All files below `folder`; the page may connect to `relay` (a WebSocket URL) and to nothing else.
    pub(crate) fn read(folder: &Path, relay: &str) -> Result<Site> {
        let mut site = Site { files: BTreeMap::new(), policy: content_security_policy(relay) };
        for file in web::files(folder)? {
            let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().replace('\\', "/");
            site.add(&name, &file)?;
        }
        Ok(site)
    }

    /// Serves `file` as `/name`.
    pub(crate) fn add(&mut self, name: &str, file: &Path) -> Result<()> {
        let bytes = fs::read(file).map_err(Error::file("read", file))?;
        self.files.insert(format!("/{name}"), File { media: media_type(name), bytes });
        Ok(())
    }

    fn find(&self, target: &str) -> Option<&File> {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if path.ends_with('/') { self.files.get(&format!("{path}index.html")) } else { self.files.get(path) }
    }

    /// The whole answer to one request.
    fn answer(&self, request: &Request) -> Vec<u8> {
        let (method, target) = match request {
            Request::Get(target) => (Method::Get, target),
            Request::Head(target) => (Method::Head, target),
            Request::Other => return self.page("405 Method Not Allowed", "Allow: GET, HEAD\r\n"),
            Request::Malformed => return self.page("400 Bad Request", ""),
            Request::TooLarge => return self.page("431 Request Header Fields Too Large", ""),
        };
        let Some(file) = self.find(target) else { return self.page("404 Not Found", "") };
        let mut answer = self.head("200 OK", "", file.media, file.bytes.len());
        if method == Method::Get {
            answer.extend_from_slice(&file.bytes);
        }
        answer
    }

    fn page(&self, status: &str, headers: &str) -> Vec<u8> {
        let mut answer = self.head(status, headers, "text/plain; charset=utf-8", status.len() + 1);
        answer.extend_from_slice(status.as_bytes());
        answer.push(b'\n');
        answer
    }

    fn head(&self, status: &str, headers: &str, media: &str, length: usize) -> Vec<u8> {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let policy = &self.policy;
        format!(
            "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\
             Content-Security-Policy: {policy}\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Cross-Origin-Opener-Policy: same-origin\r\nCache-Control: no-cache\r\nConnection: close\r\n{headers}\r\n"
        )
        .into_bytes()
    }
}

/// Scripts, styles and workers of this origin alone; one Trusted Types policy, for the worker's address.
fn content_security_policy(relay: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; \
         font-src 'self'; connect-src 'self' {relay}; worker-src 'self'; manifest-src 'self'; frame-src 'self'; \
         frame-ancestors 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; \
         require-trusted-types-for 'script'; trusted-types sealdesk-worker"
    )
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Method {
    Get,
    Head,
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Get(String),
    Head(String),
    Other,
    Malformed,
    TooLarge,
}

/// Starts the threads, which live as long as the process.
pub(crate) fn serve(listener: TcpListener, site: Site) -> Result<()> {
    let site = Arc::new(site);
    let listener = Arc::new(listener);
    for number in 0..THREADS {
        let (site, listener) = (Arc::clone(&site), Arc::clone(&listener));
        thread::Builder::new()
            .name(format!("page-{number}"))
            .spawn(move || {
                loop {
                    match listener.accept() {
                        // A visitor who goes away in the middle harms nobody.
                        Ok((stream, _)) => drop(talk(stream, &site)),
                        // Out of file descriptors, for example: wait until some are back.
                        Err(_) => thread::sleep(Duration::from_millis(50)),
                    }
                }
            })
            .map_err(|source| Error::Start { command: "web server".to_owned(), source })?;
    }
    Ok(())
}

fn talk(mut stream: TcpStream, site: &Site) -> io::Result<()> {
    let Some(request) = read_request(&mut stream)? else { return Ok(()) };
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    stream.write_all(&site.answer(&request))?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // A close with unread bytes would reset the connection and could cut off the answer.
    let end = Instant::now() + Duration::from_secs(1);
    let mut rest = [0; 1024];
    while left(end).is_some_and(|left| stream.set_read_timeout(Some(left)).is_ok())
        && matches!(stream.read(&mut rest), Ok(1..))
    {}
    Ok(())
}

/// None when the visitor closed without asking (browsers open connections ahead of need).
fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let end = Instant::now() + HEAD_TIME;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    loop {
        let Some(left) = left(end) else { return Ok(None) };
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&part[..count]);
        if head.windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(Some(parse(&head)));
        }
        if head.len() > MAX_HEAD {
            return Ok(Some(Request::TooLarge));
        }
    }
}

fn left(end: Instant) -> Option<Duration> {
    end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

fn parse(head: &[u8]) -> Request {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return Request::Malformed };
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        [method, target, "HTTP/1.1" | "HTTP/1.0"] if target.starts_with('/') => match *method {
            "GET" => Request::Get((*target).to_owned()),
            "HEAD" => Request::Head((*target).to_owned()),
            _ => Request::Other,
        },
        _ => Request::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> (tempfile::TempDir, u16) {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join("dist")).expect("dist");
        fs::write(folder.path().join("dist/index.html"), "<p>page").expect("page");
        fs::write(folder.path().join("dist/core.wasm"), [0, 97, 115, 109]).expect("wasm");
        fs::write(folder.path().join("secret"), "not for visitors").expect("secret");
        let site = Site::read(&folder.path().join("dist"), "ws://127.0.0.1:1").expect("site");
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let port = listener.local_addr().expect("address").port();
        serve(listener, site).expect("threads");
        (folder, port)
    }

    fn ask(port: u16, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.write_all(request).expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        answer
    }

    #[test]
    fn files_come_with_their_type_and_the_policy() {
        let (_folder, port) = site();
        let page = ask(port, b"GET /?locale=ar HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.ends_with("\r\n\r\n<p>page"), "{page}");
        assert!(page.contains("Content-Type: text/html; charset=utf-8\r\n"), "{page}");
        assert!(page.contains("connect-src 'self' ws://127.0.0.1:1;"), "{page}");
        assert!(page.contains("require-trusted-types-for 'script'"), "{page}");
        assert!(ask(port, b"GET /core.wasm HTTP/1.1\r\n\r\n").contains("application/wasm"));
    }

    #[test]
    fn head_has_the_length_and_no_body() {
        let (_folder, port) = site();
        let answer = ask(port, b"HEAD /index.html HTTP/1.1\r\n\r\n");
        assert!(answer.contains("Content-Length: 7\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn nothing_outside_the_folder_can_be_named() {
        let (folder, port) = site();
        let absolute = format!("GET {}/secret HTTP/1.1\r\n\r\n", folder.path().display());
        assert!(ask(port, absolute.as_bytes()).starts_with("HTTP/1.1 404"));
        for target in
            ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/dist/../../secret", "//secret", "/.", "/a/"]
        {
            let answer = ask(port, format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes());
            assert!(answer.starts_with("HTTP/1.1 404"), "{target}: {answer}");
        }
    }

    #[test]
    fn bad_requests_get_their_own_answers_and_the_server_lives_on() {
        let (_folder, port) = site();
        assert!(ask(port, b"POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(ask(port, b"GET http://elsewhere/ HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
        assert!(ask(port, b"\xff\xfe\r\n\r\n").starts_with("HTTP/1.1 400"));
        let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; MAX_HEAD + 1]].concat();
        assert!(ask(port, &long).starts_with("HTTP/1.1 431"));
        drop(TcpStream::connect(("127.0.0.1", port)).expect("connect and leave"));
        assert!(ask(port, b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
    }
}
