//! Aligned columns: the first to the left, the others to the right.

/// A table with headings and a line of totals.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>], total: &[String]) -> String {
    let columns = heads.len();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&total[column]]);
        cells.map(|cell| cell.chars().count()).chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rule = format!("  {}", "─".repeat(widths.iter().sum::<usize>() + 2 * (columns - 1)));
    let mut out = vec![line(&mut heads.iter().copied()), rule.clone()];
    out.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    out.push(rule);
    out.push(line(&mut total.iter().map(String::as_str)));
    out.join("\n")
}

/// A whole number with thousands separators.
pub(crate) fn count(number: u64) -> String {
    group(&number.to_string())
}

/// An amount with thousands separators and as many decimals as are asked.
pub(crate) fn amount(money: crate::domain::money::Money, places: u32) -> String {
    let text = money.to_fixed(places);
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.is_empty() { format!("{sign}{}", group(whole)) } else { format!("{sign}{}.{fraction}", group(whole)) }
}

fn group(digits: &str) -> String {
    let first = digits.len() % 3;
    let mut out = digits[..first].to_owned();
    for chunk in digits.as_bytes()[first..].chunks(3) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(std::str::from_utf8(chunk).unwrap_or_default());
    }
    out
}

/// Decimals that show an amount of this size: cents above a hundred dollars, micro-dollars for small ones.
pub(crate) fn places(largest: crate::domain::money::Money) -> u32 {
    match largest.pico().unsigned_abs() {
        100_000_000_000_000.. => 2,
        1_000_000_000_000.. => 4,
        _ => 6,
    }
}
