//! A byte stream to a server, encrypted or not. It is made in a thread that may wait, and then lives on a reactor
//! that never does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::ClientConnection;

/// TCP, with or without TLS.
pub(crate) struct Stream {
    tcp: Tcp,
    tls: Option<Box<ClientConnection>>,
}

enum Tcp {
    /// Every call waits, until the deadline.
    Waiting(TcpStream, Instant),
    /// No call waits.
    Registered(mio::net::TcpStream),
    /// On the way from one to the other; stays so only if that failed.
    Moving,
}

impl Stream {
    /// A stream whose calls wait until `deadline`.
    pub(crate) fn waiting(tcp: TcpStream, deadline: Instant) -> Self {
        Self { tcp: Tcp::Waiting(tcp, deadline), tls: None }
    }

    pub(crate) fn set_deadline(&mut self, to: Instant) {
        if let Tcp::Waiting(_, deadline) = &mut self.tcp {
            *deadline = to;
        }
    }

    /// Does the TLS handshake.
    pub(crate) fn start_tls(&mut self, mut tls: ClientConnection) -> io::Result<()> {
        while tls.is_handshaking() {
            tls.complete_io(&mut self.tcp)?;
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// From now on no call waits.
    pub(crate) fn stop_waiting(&mut self) -> io::Result<()> {
        if let Tcp::Waiting(tcp, _) = std::mem::replace(&mut self.tcp, Tcp::Moving) {
            tcp.set_nonblocking(true)?;
            self.tcp = Tcp::Registered(mio::net::TcpStream::from_std(tcp));
        }
        Ok(())
    }

    /// Whether the connection stands and nothing was sent that we did not ask for.
    pub(crate) fn is_quiet(&self) -> bool {
        let Tcp::Waiting(tcp, _) = &self.tcp else { return false };
        let look = || {
            tcp.set_nonblocking(true)?;
            let seen = tcp.peek(&mut [0]);
            tcp.set_nonblocking(false)?;
            seen
        };
        matches!(look(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// For the reactor, after [`stop_waiting`](Self::stop_waiting).
    pub(crate) fn source(&mut self) -> Option<&mut mio::net::TcpStream> {
        match &mut self.tcp {
            Tcp::Registered(tcp) => Some(tcp),
            _ => None,
        }
    }
}

impl Read for Tcp {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Waiting(tcp, deadline) => {
                tcp.set_read_timeout(Some(left(*deadline)?))?;
                tcp.read(buf)
            }
            Self::Registered(tcp) => tcp.read(buf),
            Self::Moving => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Write for Tcp {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Waiting(tcp, deadline) => {
                tcp.set_write_timeout(Some(left(*deadline)?))?;
                tcp.write(buf)
            }
            Self::Registered(tcp) => tcp.write(buf),
            Self::Moving => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reading and writing are independent: a peer that does not read does not keep us from reading.
impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read(buf) };
        loop {
            match tls.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            tls.read_tls(&mut self.tcp)?;
            let processed = tls.process_new_packets();
            // An alert, or the answer to a key update. What cannot leave now leaves with the next write.
            let sent = send_pending(tls, &mut self.tcp);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Err(error) = sent
                && error.kind() != io::ErrorKind::WouldBlock
            {
                return Err(error);
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.write(buf) };
        let mut written = tls.writer().write(buf)?;
        match send_pending(tls, &mut self.tcp) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => result?,
        }
        if written == 0 && !buf.is_empty() {
            // Its buffer was full; what has left may have made room.
            written = tls.writer().write(buf)?;
            if written == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => send_pending(tls, &mut self.tcp),
            None => Ok(()),
        }
    }
}

fn send_pending(tls: &mut ClientConnection, tcp: &mut Tcp) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(tcp)? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
