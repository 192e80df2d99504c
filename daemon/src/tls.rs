//! What was wrong with the other end of a TLS connection, in codes that operators can search for.

use std::{error::Error, io};

use rustls::{CertificateError, Error as TlsError};

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate's time is over, or has not come, by the clock of this machine.
    Expired,
    /// The certificate is somebody else's.
    NameMismatch,
    /// Nobody whom we trust has signed the certificate.
    UnknownCa,
    /// The other end does not want us: it wants a client certificate, or another one.
    Refused,
    /// Anything else: no TLS at all, a version or cipher that we do not speak.
    Failed,
}

impl TlsFault {
    /// The TLS error among the causes of `error`, if there is one.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<TlsError>() {
                return Some(Self::of_tls(tls));
            }
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                // An I/O error names what it wraps, not the cause of it, only on request.
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    fn of_tls(error: &TlsError) -> Self {
        use CertificateError as Certificate;
        match error {
            TlsError::InvalidCertificate(why) => match why {
                Certificate::Expired
                | Certificate::ExpiredContext { .. }
                | Certificate::NotValidYet
                | Certificate::NotValidYetContext { .. } => Self::Expired,
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => Self::NameMismatch,
                // A CA of the same name and another key: it was made anew, most likely.
                Certificate::UnknownIssuer | Certificate::BadSignature => Self::UnknownCa,
                _ => Self::Failed,
            },
            TlsError::AlertReceived(_) => Self::Refused,
            _ => Self::Failed,
        }
    }

    pub const fn code(self) -> &'static str {
        match self {
            Self::Expired => "tls/expired",
            Self::NameMismatch => "tls/name-mismatch",
            Self::UnknownCa => "tls/unknown-ca",
            Self::Refused => "tls/refused",
            Self::Failed => "tls/failed",
        }
    }
}
