//! Intermediates from where a certificate says that they are (authorityInfoAccess, RFC 5280 §4.2.2.1): hosts of a list, the
//! address looked up once and pinned, never one of a network of one's own, no redirects, caps on size and time. For people
//! at the desk, and for the job of a server; never in a request: what a device brings must not make anybody knock anywhere.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Bytes of an answer.
const BYTES: u64 = 64 << 10;
/// For everything: name, connection, answer.
const TIME: Duration = Duration::from_secs(20);

/// Hosts of TPM makers, as their certificates name them.
pub const HOSTS: [&str; 17] = [
    "ftpm.amd.com",
    "pki.goog",
    "pki.infineon.com",
    "pki.nationstech.com",
    "pki.nationz.com.cn",
    "pki.nsing.com.sg",
    "secure.globalsign.com",
    "sw-center.st.com",
    "trustedservices.intel.com",
    "tsci.intel.com",
    "tsde.intel.com",
    "upgrades.intel.com",
    "www.infineon.com",
    "www.intel.com",
    "www.microsoft.com",
    "www.nuvoton.com",
    "www.st.com",
];

/// Where to look, and how long.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// Hosts that may be asked.
    pub hosts: Vec<String>,
    /// Addresses for hosts, by the operator's word: a mirror of his own. No name is looked up for these.
    pub pinned: Vec<(String, SocketAddr)>,
    /// For everything: name, connection, answer.
    pub time: Duration,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self {
            hosts: HOSTS.map(str::to_owned).to_vec(),
            pinned: Vec::new(),
            time: TIME,
        }
    }
}

/// The one address that is connected to, whatever a name server says meanwhile.
#[derive(Debug)]
struct Pinned(SocketAddr);

impl Resolver for Pinned {
    fn resolve(&self, _: &Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

impl Fetcher {
    /// What lies at a URL.
    ///
    /// # Errors
    /// In words; nothing was connected to unless host and address were in order.
    pub fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let uri = self.allowed(url)?;
        let address = self.address(&uri)?;
        let config = Agent::config_builder()
            .timeout_global(Some(self.time))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .tls_config(TlsConfig::builder().provider(TlsProvider::NativeTls).build())
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Pinned(address));
        let mut answer = agent.get(uri).call().map_err(|e| e.to_string())?;
        match answer.status().as_u16() {
            200 => {}
            300..=399 => return Err("it points elsewhere, and nobody follows".to_owned()),
            status => return Err(format!("it answers {status}")),
        }
        let body = answer.body_mut().with_config().limit(BYTES);
        body.read_to_vec().map_err(|e| e.to_string())
    }

    /// Whether a URL is of a form that would be asked: nothing is looked up, nothing is connected to.
    #[must_use]
    pub fn would_ask(&self, url: &str) -> bool {
        self.allowed(url).is_ok()
    }

    /// A plain http or https URL on a host of the list, on the usual port.
    fn allowed(&self, url: &str) -> Result<Uri, String> {
        // Some makers write blanks into their URLs.
        let url = url.replace(' ', "%20");
        let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("neither http nor https".to_owned());
        }
        let authority = uri.authority().ok_or("no host in it")?;
        if authority.as_str().contains('@') || authority.port().is_some() {
            return Err("a user or a port in it".to_owned());
        }
        let host = authority.host().to_ascii_lowercase();
        if !self.hosts.iter().any(|listed| listed.eq_ignore_ascii_case(&host)) {
            return Err(format!("the host {host} is not on the list"));
        }
        Ok(uri)
    }

    /// Where to connect to: never into a network of one's own, unless the operator says so himself.
    fn address(&self, uri: &Uri) -> Result<SocketAddr, String> {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if let Some((_, address)) = self.pinned.iter().find(|(name, _)| name.eq_ignore_ascii_case(&host)) {
            return Ok(*address);
        }
        let port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let found: Vec<SocketAddr> = (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|e| format!("{host}: {e}"))?
            .collect();
        if let Some(inside) = found.iter().find(|address| !is_public(address.ip())) {
            return Err(format!("{host} is {}, which is no public address", inside.ip()));
        }
        found.first().copied().ok_or(format!("{host} has no address"))
    }
}

/// Whether an address is of the public network (IANA special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_documentation()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(IpAddr::V4(v4)),
            // 2000::/3 is what is given out; documentation, 6to4 and Teredo lie in it.
            None => {
                let [first, second, ..] = v6.segments();
                first & 0xe000 == 0x2000
                    && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
                    && first != 0x2002
                    && first != 0x3fff
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A server that counts who comes, and gives everybody the same answer, slowly if so wanted.
    fn canary(answer: Vec<u8>, pause: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let mut request = [0; 1024];
                    let _ = stream.read(&mut request);
                    for part in answer.chunks(if pause.is_zero() { answer.len().max(1) } else { 1 }) {
                        if stream.write_all(part).is_err() {
                            return;
                        }
                        std::thread::sleep(pause);
                    }
                });
            }
        });
        (address, seen)
    }

    fn http(status: &str, more: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    fn mirror(address: SocketAddr) -> Fetcher {
        Fetcher {
            pinned: vec![("pki.infineon.com".into(), address)],
            ..Fetcher::default()
        }
    }

    #[test]
    fn d01_what_is_on_the_list_is_fetched_blanks_and_all() {
        let (address, seen) = canary(http("200 OK", "", b"\x30\x00"), Duration::ZERO);
        let url = "http://pki.infineon.com/Optiga ECC/a b.crt";
        assert_eq!(mirror(address).fetch(url).unwrap(), b"\x30\x00");
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn d01_nothing_else_makes_a_connection() {
        let (address, seen) = canary(http("200 OK", "", b"\x30\x00"), Duration::ZERO);
        let port = address.port();
        let fetcher = Fetcher {
            // Even on the list: these names are of this machine or its network.
            hosts: [
                "localhost",
                "127.0.0.1",
                "169.254.169.254",
                "[::1]",
                "0.0.0.0",
                "2130706433",
                "0x7f.1",
            ]
            .map(str::to_owned)
            .into_iter()
            .chain(HOSTS.map(str::to_owned))
            .collect(),
            ..Fetcher::default()
        };
        for url in [
            format!("http://localhost:{port}/a.crt"),
            format!("http://127.0.0.1:{port}/a.crt"),
            format!("http://[::1]:{port}/a.crt"),
            format!("http://user@localhost:{port}/a.crt"),
            "http://localhost/a.crt".into(),
            "http://127.0.0.1/a.crt".into(),
            "http://[::1]/a.crt".into(),
            "http://0.0.0.0/a.crt".into(),
            "http://2130706433/a.crt".into(),
            "http://0x7f.1/a.crt".into(),
            "http://169.254.169.254/latest/meta-data/".into(),
            "https://metadata.google.internal/".into(),
            "http://pki.infineon.com.evil.example/a.crt".into(),
            "http://pki.infineon.com@127.0.0.1/a.crt".into(),
            "http://pki.infineon.com#@127.0.0.1/a.crt".into(),
            format!("http://pki.infineon.com:{port}/a.crt"),
            "file:///etc/passwd".into(),
            "gopher://localhost/1".into(),
            "ldap://localhost/cn=ca".into(),
            "//pki.infineon.com/a.crt".into(),
            "".into(),
        ] {
            let short = Fetcher {
                time: Duration::from_millis(300),
                ..fetcher.clone()
            };
            assert!(short.fetch(&url).is_err(), "{url}");
        }
        assert_eq!(seen.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn d01_private_addresses_are_told_from_public_ones() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2001::1",
            "ff02::1",
            "64:ff9b::7f00:1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "8.8.8.8",
            "93.184.216.34",
            "100.128.0.1",
            "2606:2800:220:1::1",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn d01_a_redirect_is_not_followed() {
        let (target, seen) = canary(http("200 OK", "", b"\x30\x00"), Duration::ZERO);
        let to = format!("Location: http://pki.infineon.com/b.crt\r\nX: http://{target}/\r\n");
        let (address, first) = canary(http("302 Found", &to, b""), Duration::ZERO);
        let why = mirror(address).fetch("http://pki.infineon.com/a.crt").unwrap_err();
        assert!(why.contains("points elsewhere"), "{why}");
        assert_eq!((first.load(Ordering::SeqCst), seen.load(Ordering::SeqCst)), (1, 0));
    }

    #[test]
    fn d01_neither_size_nor_slowness_holds_it() {
        let large = http("200 OK", "", &vec![0x30; 64 * 1024 + 1]);
        let (address, _) = canary(large, Duration::ZERO);
        assert!(mirror(address).fetch("http://pki.infineon.com/a.crt").is_err());
        // One byte every now and then.
        let (address, _) = canary(http("200 OK", "", &[0x30; 5000]), Duration::from_millis(20));
        let patient = Fetcher {
            time: Duration::from_millis(500),
            ..mirror(address)
        };
        let start = std::time::Instant::now();
        assert!(patient.fetch("http://pki.infineon.com/a.crt").is_err());
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
