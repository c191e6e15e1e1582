//! Framing: lines of limited length, read and written within a time limit.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Reason why no line was read.
#[derive(Debug)]
pub enum ReadError {
    /// The peer closed the connection between two lines.
    Closed,
    TooLong,
    TooLate,
    Broken,
}

/// Reads a line of at most `longest` bytes, without its line end.
pub async fn read(
    from: &mut (impl AsyncBufRead + Unpin),
    longest: usize,
    within: Duration,
) -> Result<Vec<u8>, ReadError> {
    timeout(within, read_line(from, longest))
        .await
        .unwrap_or(Err(ReadError::TooLate))
}

/// Reads a line as [`read`] does, for as long as it takes.
pub async fn read_line(
    from: &mut (impl AsyncBufRead + Unpin),
    longest: usize,
) -> Result<Vec<u8>, ReadError> {
    let mut line = Vec::new();
    loop {
        let here = from.fill_buf().await.map_err(|_| ReadError::Broken)?;
        if here.is_empty() {
            return Err(match line.is_empty() {
                true => ReadError::Closed,
                false => ReadError::Broken,
            });
        }
        let end = here.iter().position(|byte| *byte == b'\n');
        let part = end.unwrap_or(here.len());
        if line.len() + part > longest {
            return Err(ReadError::TooLong);
        }
        line.extend_from_slice(&here[..part]);
        from.consume(end.map_or(part, |end| end + 1));
        if end.is_some() {
            return Ok(line);
        }
    }
}

/// Writes the whole line, or fails if the peer does not read in time.
pub async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    line: &[u8],
    within: Duration,
) -> io::Result<()> {
    let written = async {
        to.write_all(line).await?;
        to.flush().await
    };
    timeout(within, written)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    async fn lines(text: &[u8], longest: usize) -> (Vec<Vec<u8>>, ReadError) {
        // Smaller than a line, so that a line arrives in parts.
        let mut from = BufReader::with_capacity(3, text);
        let mut lines = Vec::new();
        loop {
            match read(&mut from, longest, SOON).await {
                Ok(line) => lines.push(line),
                Err(end) => return (lines, end),
            }
        }
    }

    #[tokio::test]
    async fn lines_end_where_they_end() {
        let (found, end) = lines(b"12345\n\n67\n", 5).await;
        assert_eq!(found, [b"12345".to_vec(), Vec::new(), b"67".to_vec()]);
        assert!(matches!(end, ReadError::Closed));
        let (found, end) = lines(b"12\n3", 5).await;
        assert_eq!(found, [b"12".to_vec()]);
        assert!(matches!(end, ReadError::Broken));
        let (found, end) = lines(b"123456\n7\n", 5).await;
        assert!(found.is_empty() && matches!(end, ReadError::TooLong));
    }

    #[tokio::test]
    async fn reads_and_writes_have_a_time_limit() {
        let (mut ours, _theirs) = tokio::io::duplex(8);
        let late = read(&mut BufReader::new(&mut ours), 5, SOON).await;
        assert!(matches!(late, Err(ReadError::TooLate)));
        let late = write(&mut ours, &[0; 64], SOON).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
