//! QR codes for a terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The code as lines of half blocks, two modules a character, with its quiet zone. Light modules are drawn, which is right
/// on a dark terminal; on a light one it is inverted, and phones read that too.
///
/// `None` if the text is too long for any code.
pub(crate) fn render(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_pairing_text_fits_a_terminal() {
        let text =
            format!("https://wa.me/settings/linked_devices#2@{},{k},{k},{k},1", "r".repeat(88), k = "k".repeat(44));
        let code = super::render(&text).expect("short enough");
        assert!(code.lines().count() <= 36, "{} lines", code.lines().count());
        assert!(code.lines().all(|line| line.chars().count() <= 72));
        // The quiet zone is drawn.
        assert!(code.starts_with('█'), "{code}");
        assert!(super::render(&"x".repeat(5000)).is_none());
    }
}
