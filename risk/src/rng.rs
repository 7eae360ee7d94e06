//! A counter-based generator: random numbers as a function of where they are used.
//!
//! [`philox4x32`] maps a 128-bit counter and a 64-bit key to 128 bits. The key is the seed; the
//! counter is (step, factor, scenario). Two scenarios never share a counter, so scenarios may be
//! drawn in any order on any thread.
//!
//! # Source
//! Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (2011). The known answers
//! in the tests are those of the authors' Random123 library.

use std::convert::Infallible;

use rand::TryRng;

/// Draws of one factor in one scenario, in order of step.
///
/// Also a [`rand::Rng`], so the distributions of `rand_distr` can be drawn from it.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    factor: u32,
    scenario: [u32; 2],
    step: u32,
    block: [u32; 4],
    used: usize,
}

impl Stream {
    /// The draws of `factor` in `scenario` under `seed`, from step 0.
    #[must_use]
    pub fn new(seed: u64, scenario: u64, factor: u32) -> Self {
        Self {
            key: halves(seed),
            factor,
            scenario: halves(scenario),
            step: 0,
            block: [0; 4],
            used: 4,
        }
    }

    /// Next 32 bits.
    #[inline]
    pub fn bits(&mut self) -> u32 {
        if self.used == 4 {
            let counter = [self.step, self.factor, self.scenario[0], self.scenario[1]];
            self.block = philox4x32(counter, self.key);
            self.step = self.step.wrapping_add(1);
            self.used = 0;
        }
        let bits = self.block[self.used];
        self.used += 1;
        bits
    }

    /// Uniform in the open interval (0, 1), 53 bits.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        let high = u64::from(self.bits()) << 32;
        let bits = (high | u64::from(self.bits())) >> 12;
        (bits as f64 + 0.5) / 4_503_599_627_370_496.0 // 2^52
    }

    /// Standard normal by inversion of 32 bits: one word per draw, no rejection, so the position of
    /// every draw is known. The largest draw is 6.3 in size, far beyond any quantile reported.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        normal_from_bits(self.bits())
    }

    /// Exponential with `rate` above 0; the unit of time is that of the rate.
    #[inline]
    pub fn exponential(&mut self, rate: f64) -> f64 {
        -self.uniform().ln() / rate
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.bits())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let high = u64::from(self.bits()) << 32;
        Ok(high | u64::from(self.bits()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            let word = self.bits().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

/// Ten rounds of Philox on a counter, under a key.
#[inline]
#[must_use]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let [mut k, mut l] = key;
    for _ in 0..10 {
        let [p_low, p_high] = halves(u64::from(a) * 0xD251_1F53);
        let [q_low, q_high] = halves(u64::from(c) * 0xCD9E_8D57);
        (a, b, c, d) = (q_high ^ b ^ k, q_low, p_high ^ d ^ l, p_low);
        k = k.wrapping_add(0x9E37_79B9);
        l = l.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

/// Standard normal from 32 uniform bits.
#[inline]
#[must_use]
pub fn normal_from_bits(bits: u32) -> f64 {
    normal_quantile((f64::from(bits) + 0.5) / 4_294_967_296.0)
}

/// Quantile of the standard normal at `p` in (0, 1), relative error about 1e-16 before rounding;
/// NaN outside. `statrs` has one as well; this one is on the path of every scenario and four times
/// as fast.
///
/// # Source
/// Wichura, algorithm AS 241 (PPND16), Applied Statistics 37 (1988).
#[inline]
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(&CENTRE, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail <= 0.0 || tail.is_nan() {
        return if tail == 0.0 {
            f64::INFINITY.copysign(q)
        } else {
            f64::NAN
        };
    }
    let r = (-tail.ln()).sqrt();
    let size = if r <= 5.0 {
        ratio(&MIDDLE, r - 1.6)
    } else {
        ratio(&FAR, r - 5.0)
    };
    size.copysign(q)
}

type Ratio = ([f64; 8], [f64; 8]);

#[inline]
fn ratio((top, bottom): &Ratio, r: f64) -> f64 {
    let horner = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
    horner(top) / horner(bottom)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the two halves are what is wanted"
)]
const fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

const CENTRE: Ratio = (
    [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_4,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ],
    [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_545,
    ],
);
const MIDDLE: Ratio = (
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
);
const FAR: Ratio = (
    [
        6.657_904_643_501_104,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_2e-7,
    ],
    [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_7e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::normal_cdf;

    #[test]
    fn philox_gives_the_published_answers() {
        for (counter, key, expected) in [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox4x32(counter, key), expected);
        }
    }

    #[test]
    fn the_quantile_inverts_the_distribution_function() {
        for i in 1..2000 {
            let p = f64::from(i) / 2000.0;
            assert!((normal_cdf(normal_quantile(p)) - p).abs() < 1e-14, "{p}");
        }
        for p in [1e-4, 1e-8, 1e-12, 1e-30, 1e-200] {
            let back = normal_cdf(normal_quantile(p));
            assert!((back / p - 1.0).abs() < 1e-10, "{p} {back}");
        }
        assert!(normal_quantile(-0.1).is_nan() && normal_quantile(f64::NAN).is_nan());
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
    }

    #[test]
    fn a_draw_depends_on_its_position_alone() {
        let late: Vec<u32> = {
            let mut s = Stream::new(7, 1_000_000_007, 3);
            (0..10).map(|_| s.bits()).collect()
        };
        let mut other = Stream::new(7, 1_000_000_008, 3);
        other.bits();
        let mut again = Stream::new(7, 1_000_000_007, 3);
        for bits in late {
            assert_eq!(bits, again.bits());
            assert_ne!(bits, other.bits());
        }
    }

    #[test]
    fn moments_of_normal_and_exponential_draws() {
        let n = 200_000;
        let mut s = Stream::new(1, 2, 3);
        let mut sums = [0.0; 5];
        for _ in 0..n {
            let z = s.normal();
            sums[0] += z;
            sums[1] += z * z;
            sums[2] += z.powi(4);
            let e = s.exponential(0.25);
            sums[3] += e;
            sums[4] += s.uniform();
        }
        let n = f64::from(n);
        // Four standard errors of each moment.
        for (sum, mean, sd) in [
            (sums[0], 0.0, 1.0),
            (sums[1], 1.0, 2_f64.sqrt()),
            (sums[2], 3.0, 96_f64.sqrt()),
            (sums[3], 4.0, 4.0),
            (sums[4], 0.5, (1.0_f64 / 12.0).sqrt()),
        ] {
            assert!((sum / n - mean).abs() < 4.0 * sd / n.sqrt(), "{mean}");
        }
    }
}
