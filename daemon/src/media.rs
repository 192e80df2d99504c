//! The kinds of image files that a job may be.

/// A kind of image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Jpeg,
    Png,
    Bmp,
}

impl Media {
    pub const ALL: [Self; 3] = [Self::Jpeg, Self::Png, Self::Bmp];

    /// As a content type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Bmp => "image/bmp",
        }
    }

    /// By a content type, also by the other names in use.
    pub fn parse(content_type: &str) -> Option<Self> {
        match content_type {
            "image/jpg" => Some(Self::Jpeg),
            "image/x-ms-bmp" => Some(Self::Bmp),
            name => Self::ALL.into_iter().find(|media| media.name() == name),
        }
    }

    /// By a file's extension in lower case.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "bmp" => Some(Self::Bmp),
            _ => None,
        }
    }

    /// By the first bytes of a file, which do not lie.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let signatures: [(&[u8], Self); 3] =
            [(b"\xff\xd8\xff", Self::Jpeg), (b"\x89PNG\r\n\x1a\n", Self::Png), (b"BM", Self::Bmp)];
        signatures.into_iter().find(|(signature, _)| bytes.starts_with(signature)).map(|(_, media)| media)
    }
}
