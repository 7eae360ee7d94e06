//! Read-only HTTP for operators and monitoring: `/livez`, `/readyz`, `/metrics`.
//!
//! It is a thread of its own with a small runtime, so that a scraper never takes time from a shard.
//! It reads no body, keeps no state and changes nothing; whoever may reach the address may read it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::oneshot;

/// What a process says about itself.
pub trait Health: Send + Sync + 'static {
    /// Whether every agent works.
    ///
    /// # Errors
    /// One line that says what stands still.
    fn live(&self) -> Result<(), String>;

    /// Whether orders are served.
    ///
    /// # Errors
    /// One line that says what is missing.
    fn ready(&self) -> Result<(), String>;

    /// All metrics in the text format of Prometheus.
    fn metrics(&self) -> String;
}

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    addr: SocketAddr,
    /// Dropping it is the signal to stop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Binds `listen` (TCP; port 0 takes a free one) and serves.
    ///
    /// # Errors
    /// What the operating system says of the address, the runtime or the thread.
    pub fn start(listen: SocketAddr, health: Arc<dyn Health>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let server = axum::serve(listener, routes(health));
            tokio::select! {
                result = server => {
                    if let Err(error) = result {
                        tracing::error!(%error, "the HTTP server ended");
                    }
                }
                _ = stopped => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("tessera-http".into())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            addr,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it serves, with the port that was taken.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It holds nothing that its panic could have broken.
            let _ = thread.join();
        }
    }
}

fn routes(health: Arc<dyn Health>) -> Router {
    let answer = |result: Result<(), String>| match result {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    let (live, ready) = (Arc::clone(&health), Arc::clone(&health));
    let page = "tessera: /livez /readyz /metrics\n";
    Router::new()
        .route("/", get(move || async move { page }))
        .route("/livez", get(move || async move { answer(live.live()) }))
        .route("/readyz", get(move || async move { answer(ready.ready()) }))
        .route(
            "/metrics",
            get(move || async move {
                let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
                (kind, health.metrics()).into_response()
            }),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    struct Half;

    impl Health for Half {
        fn live(&self) -> Result<(), String> {
            Ok(())
        }

        fn ready(&self) -> Result<(), String> {
            Err("replaying the journal".into())
        }

        fn metrics(&self) -> String {
            "tessera_commands_total 7\n".into()
        }
    }

    fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get_path(addr: SocketAddr, path: &str) -> String {
        ask(
            addr,
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
    }

    #[test]
    fn every_route_answers_and_nothing_else_does() {
        let server = HttpServer::start("127.0.0.1:0".parse().unwrap(), Arc::new(Half)).unwrap();
        let addr = server.addr();
        let live = get_path(addr, "/livez");
        assert!(
            live.starts_with("HTTP/1.1 200") && live.ends_with("ok\n"),
            "{live}"
        );
        let ready = get_path(addr, "/readyz");
        assert!(
            ready.starts_with("HTTP/1.1 503") && ready.ends_with("replaying the journal\n"),
            "{ready}"
        );
        let metrics = get_path(addr, "/metrics");
        assert!(metrics.ends_with("tessera_commands_total 7\n"), "{metrics}");
        assert!(get_path(addr, "/orders").starts_with("HTTP/1.1 404"));
        let posted = ask(
            addr,
            "POST /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
        assert!(ask(addr, "garbage\r\n\r\n").starts_with("HTTP/1.1 400"));
        drop(server);
        assert!(TcpStream::connect(addr).is_err(), "the port is free again");
    }
}
