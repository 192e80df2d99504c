//! One loop, compiled for the instructions that this processor has.

/// `widened!(fn NAME(args) = BODY)` makes a function that runs `BODY`, an `#[inline(always)]` function with the same
/// arguments, as the compiler vectorises it for AVX-512, AVX2 or whatever every processor of the target has.
macro_rules! widened {
    ($(#[$meta:meta])* $visible:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:path) => {
        $(#[$meta])*
        $visible fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
                fn avx512($($arg: $type),*) {
                    $body($($arg),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) {
                    $body($($arg),*);
                }
                if $crate::cpu::has_avx512() {
                    #[expect(unsafe_code, reason = "the processor has been asked for the instructions")]
                    return unsafe { avx512($($arg),*) };
                }
                if $crate::cpu::has_avx2() {
                    #[expect(unsafe_code, reason = "the processor has been asked for the instructions")]
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body($($arg),*);
        }
    };
}
pub(crate) use widened;

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") && has_avx2()
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma")
}
