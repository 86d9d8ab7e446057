//! Request after request over HTTP, on connections that stay open, and how soon each is answered.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    client::{READ, connect, skip},
    process,
    table::percentile,
};

/// The work of the load generator: each client repeats one request.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) clients: usize,
    pub(crate) seconds: f64,
}

/// The responses that it got.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) requests: u64,
    pub(crate) octets: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU time of the load generator itself.
    pub(crate) own_cpu_us: f64,
}

/// A connection that stays open.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: connect(address, READ)?, host: address.to_string() })
    }

    /// Requests a path, and returns the octets of the content. Any other status than 200 is an error.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<u64> {
        self.send("GET", path, "")?;
        let length = self.response_head(path)?;
        skip(&mut self.stream, length, &mut |_| {})?;
        Ok(length)
    }

    /// The same, with the content.
    pub(crate) fn content(&mut self, path: &str) -> io::Result<String> {
        self.exchange("GET", path, "")
    }

    /// Sends any request, with a body of JSON unless it is empty, and returns the content of the response.
    pub(crate) fn exchange(&mut self, method: &str, path: &str, body: &str) -> io::Result<String> {
        self.send(method, path, body)?;
        self.receive(path)
    }

    /// Sends a request without waiting for its response.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<()> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if !body.is_empty() {
            let length = body.len();
            request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.stream.get_mut().write_all(request.as_bytes())
    }

    /// Reads the content of the next response. Any other status than 200 is an error.
    pub(crate) fn receive(&mut self, path: &str) -> io::Result<String> {
        let length = self.response_head(path)?;
        let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        io::Read::read_exact(&mut self.stream, &mut content)?;
        String::from_utf8(content).map_err(io::Error::other)
    }

    /// Begins a stream of events; the events are the lines that follow.
    pub(crate) fn events(mut self, path: &str) -> io::Result<BufReader<TcpStream>> {
        self.send("GET", path, "")?;
        let mut line = String::new();
        while line.trim_end() != ": restante" {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.stream)
    }

    fn response_head(&mut self, path: &str) -> io::Result<u64> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("{path}: {line:?}")));
        }
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end() {
                "" => return length.ok_or_else(|| io::Error::other(format!("{path}: no length"))),
                field => {
                    length = length.or(field.strip_prefix("Content-Length: ").and_then(|n| n.parse().ok()))
                }
            }
        }
    }
}

/// The load generator: a thread for each client.
pub(crate) fn load(job: &Job) -> io::Result<()> {
    let (ready, go) = (Barrier::new(job.clients + 1), Barrier::new(job.clients + 1));
    let client = || -> io::Result<(Vec<u32>, u64)> {
        let warmed_up = Http::connect(job.address).and_then(|mut http| http.get(&job.path).map(|_| http));
        ready.wait();
        go.wait();
        let mut http = warmed_up?;
        let (end, mut latencies, mut octets) =
            (Instant::now() + Duration::from_secs_f64(job.seconds), Vec::new(), 0);
        while Instant::now() < end {
            let start = Instant::now();
            octets += http.get(&job.path)?;
            latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        Ok((latencies, octets))
    };
    let (clients, seconds, own_cpu) = thread::scope(|scope| {
        let clients: Vec<_> = (0..job.clients).map(|_| scope.spawn(client)).collect();
        ready.wait();
        super::ready();
        let (start, cpu) = (Instant::now(), process::cpu(std::process::id())?);
        go.wait();
        let clients = clients.into_iter().map(|thread| thread.join().expect("a thread that does not panic"));
        let clients = clients.collect::<io::Result<Vec<_>>>()?;
        Ok::<_, io::Error>((clients, start.elapsed(), process::cpu(std::process::id())? - cpu))
    })?;
    let mut latencies: Vec<u32> =
        clients.iter().flat_map(|(latencies, _)| latencies.iter().copied()).collect();
    latencies.sort_unstable();
    super::report(&Answered {
        requests: latencies.len() as u64,
        octets: clients.iter().map(|(_, octets)| octets).sum(),
        seconds: seconds.as_secs_f64(),
        p50_us: percentile(&latencies, 0.50),
        p99_us: percentile(&latencies, 0.99),
        own_cpu_us: own_cpu.as_secs_f64() * 1e6,
    })
}
