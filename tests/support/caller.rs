//! A caller with one connection to the daemon's HTTP face, as a control loop has one: it writes, and waits for the answer.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
};

use picket::tensor::Tensor;

trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

/// One kept connection.
pub struct Caller(BufReader<Box<dyn Line>>);

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    /// Bytes of the JSON part, when tensors follow it.
    pub json_len: usize,
}

impl Caller {
    pub fn tcp(port: u16) -> std::io::Result<Self> {
        let line = TcpStream::connect(("127.0.0.1", port))?;
        line.set_nodelay(true)?;
        Ok(Self(BufReader::new(Box::new(line))))
    }

    pub fn unix(path: &Path) -> std::io::Result<Self> {
        Ok(Self(BufReader::new(Box::new(UnixStream::connect(path)?))))
    }

    /// Asks a model for its outputs with one FP32 input, all tensors binary.
    pub fn infer(&mut self, model: &str, input: &Tensor) -> std::io::Result<Reply> {
        let shape: Vec<String> = input.shape().iter().map(usize::to_string).collect();
        let json = format!(
            "{{\"inputs\":[{{\"name\":\"{}\",\"shape\":[{}],\"datatype\":\"FP32\",\"parameters\":{{\"binary_data_size\":{}}}}}],\
             \"parameters\":{{\"binary_data_output\":true}}}}",
            input.name,
            shape.join(","),
            input.data().len()
        );
        let head = format!(
            "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: picket\r\nContent-Type: application/octet-stream\r\n\
             Inference-Header-Content-Length: {}\r\nContent-Length: {}\r\n\r\n",
            json.len(),
            json.len() + input.data().len()
        );
        self.0.get_mut().write_all(&[head.as_bytes(), json.as_bytes(), input.data()].concat())?;
        self.reply()
    }

    fn reply(&mut self) -> std::io::Result<Reply> {
        let odd = |what: &str| std::io::Error::other(format!("no HTTP reply: {what}"));
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| odd(&line))?;
        let (mut length, mut json_len) = (0, None);
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().map_err(|_| odd(value))?,
                "inference-header-content-length" => json_len = value.trim().parse().ok(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Reply { status, json_len: json_len.unwrap_or(length), body })
    }
}

impl Reply {
    /// The binary outputs, back to back.
    pub fn tensors(&self) -> &[u8] {
        &self.body[self.json_len..]
    }
}
