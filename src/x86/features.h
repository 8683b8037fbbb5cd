// Every processor feature that has a name: its spelling, its CPUID or MSR bit, and what it needs to make sense.
//
// Names and aliases are QEMU's; '_' and '.' may be written for '-'. Sources: SDM 2A CPUID, AMD APM 3 appendix E, the
// kernel's documentation of KVM's CPUID leaves, SDM 4 for the capability MSRs.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "x86/cpuid.h"

namespace doppel::x86 {

/// One 32-bit register of one CPUID (sub-)leaf, or the low half of a capability MSR. feature_words() describes them.
enum class FeatureWord : std::uint8_t {
  k1Edx,
  k1Ecx,
  k7Ebx,
  k7Ecx,
  k7Edx,
  k7s1Eax,
  k7s1Edx,
  k7s2Edx,
  k80000001Edx,
  k80000001Ecx,
  k80000007Ebx,
  k80000007Edx,
  k80000008Ebx,
  k8000000aEdx,
  k80000021Eax,
  kC0000001Edx,
  k6Eax,
  kDs1Eax,
  k12Eax,
  k12Ebx,
  k12s1Eax,
  k14Ecx,
  kKvmEax,
  kKvmEdx,
  kArchCapabilities,
  kCoreCapability,
  kPerfCapabilities,
};
inline constexpr std::size_t kFeatureWordCount = 27;

enum class CpuidRegister : std::uint8_t { kEax, kEbx, kEcx, kEdx };

struct FeatureWordInfo {
  FeatureWord word;
  std::uint32_t leaf = 0;
  std::optional<std::uint32_t> subleaf;
  CpuidRegister reg = CpuidRegister::kEax;
  std::uint32_t msr = 0;  // not 0: the word is this MSR's low half and LEAF means nothing
};

/// In the order of FeatureWord.
std::span<const FeatureWordInfo> feature_words();

/// One feature; MASK has one bit in all but "kvmclock".
struct FeatureBit {
  FeatureWord word = FeatureWord::k1Edx;
  std::uint32_t mask = 0;
  bool operator==(const FeatureBit&) const = default;
};

struct Feature {
  std::string_view name;
  FeatureBit bit;
};

/// All features, word by word and low bit first.
std::span<const Feature> features();

struct FeatureAlias {
  std::string_view alias;
  std::string_view name;
};
std::span<const FeatureAlias> feature_aliases();

/// The feature called NAME or having it as an alias; null if there is none.
const Feature* find_feature(std::string_view name);

/// VMX capability controls ("vmx-ept", "vmx-vpid" ...), accepted on the command line; nested virtualisation offers what
/// the accelerator has.
std::span<const std::string_view> vmx_control_names();
bool is_vmx_control(std::string_view name);

/// NAME in the spelling that names are compared in: '_' and '.' become '-'.
std::string normalize_feature_name(std::string_view name);

/// Which features there are.
class FeatureSet {
 public:
  [[nodiscard]] std::uint32_t word(FeatureWord word) const { return words_.at(static_cast<std::size_t>(word)); }
  void set_word(FeatureWord word, std::uint32_t value) { words_.at(static_cast<std::size_t>(word)) = value; }

  [[nodiscard]] bool has(FeatureBit bit) const { return (word(bit.word) & bit.mask) == bit.mask; }
  void set(FeatureBit bit, bool on = true) {
    set_word(bit.word, on ? word(bit.word) | bit.mask : word(bit.word) & ~bit.mask);
  }
  [[nodiscard]] bool empty() const { return words_ == decltype(words_){}; }

  FeatureSet& operator|=(const FeatureSet& other);
  FeatureSet& operator&=(const FeatureSet& other);
  FeatureSet& operator-=(const FeatureSet& other);
  bool operator==(const FeatureSet&) const = default;

  /// The names of all members, in table order. Bits without a name are left out.
  [[nodiscard]] std::vector<std::string_view> names() const;

 private:
  std::array<std::uint32_t, kFeatureWordCount> words_{};
};

inline FeatureSet operator&(FeatureSet a, const FeatureSet& b) {
  return a &= b;
}
inline FeatureSet operator-(FeatureSet a, const FeatureSet& b) {
  return a -= b;
}

/// All that has a name.
FeatureSet named_features();

/// What a CPUID table shows, named or not; the MSR words are empty. Bits that follow the guest's CR4 (OSXSAVE, OSPKE)
/// are left out.
FeatureSet features_of(const CpuidTable& table);

/// Features that make no sense without another one: AVX2 without AVX, AVX without XSAVE, a capability bit without its
/// MSR.
struct FeatureNeed {
  std::string_view name;  // or a word's every feature, if empty
  FeatureWord word;       // used if NAME is empty
  std::string_view needs;
};
std::span<const FeatureNeed> feature_needs();

/// Removes from SET what lacks something it needs, until nothing changes.
void drop_unfounded(FeatureSet& set);

/// Features that code here asks for by themselves.
namespace feature {
inline constexpr FeatureBit kApic{FeatureWord::k1Edx, 1U << 9};
inline constexpr FeatureBit kPse36{FeatureWord::k1Edx, 1U << 17};
inline constexpr FeatureBit kHt{FeatureWord::k1Edx, 1U << 28};
inline constexpr FeatureBit kMonitor{FeatureWord::k1Ecx, 1U << 3};
inline constexpr FeatureBit kVmx{FeatureWord::k1Ecx, 1U << 5};
inline constexpr FeatureBit kPdcm{FeatureWord::k1Ecx, 1U << 15};
inline constexpr FeatureBit kX2apic{FeatureWord::k1Ecx, 1U << 21};
inline constexpr FeatureBit kTscDeadline{FeatureWord::k1Ecx, 1U << 24};
inline constexpr FeatureBit kXsave{FeatureWord::k1Ecx, 1U << 26};
inline constexpr FeatureBit kAvx{FeatureWord::k1Ecx, 1U << 28};
inline constexpr FeatureBit kHypervisor{FeatureWord::k1Ecx, 1U << 31};
inline constexpr FeatureBit kMpx{FeatureWord::k7Ebx, 1U << 14};
inline constexpr FeatureBit kAvx512f{FeatureWord::k7Ebx, 1U << 16};
inline constexpr FeatureBit kIntelPt{FeatureWord::k7Ebx, 1U << 25};
inline constexpr FeatureBit kSgx{FeatureWord::k7Ebx, 1U << 2};
inline constexpr FeatureBit kPku{FeatureWord::k7Ecx, 1U << 3};
inline constexpr FeatureBit kCetSs{FeatureWord::k7Ecx, 1U << 7};
inline constexpr FeatureBit kLa57{FeatureWord::k7Ecx, 1U << 16};
inline constexpr FeatureBit kArchLbr{FeatureWord::k7Edx, 1U << 19};
inline constexpr FeatureBit kAmxTile{FeatureWord::k7Edx, 1U << 24};
inline constexpr FeatureBit kXsaves{FeatureWord::kDs1Eax, 1U << 3};
inline constexpr FeatureBit kArat{FeatureWord::k6Eax, 1U << 2};
inline constexpr FeatureBit kLm{FeatureWord::k80000001Edx, 1U << 29};
inline constexpr FeatureBit kCmpLegacy{FeatureWord::k80000001Ecx, 1U << 1};
inline constexpr FeatureBit kSvm{FeatureWord::k80000001Ecx, 1U << 2};
inline constexpr FeatureBit kTopoext{FeatureWord::k80000001Ecx, 1U << 22};
inline constexpr FeatureBit kInvtsc{FeatureWord::k80000007Edx, 1U << 8};
}  // namespace feature

/// A state component of XSAVE (SDM 1 13.1), its place in the standard format as Intel has it, and whose it is.
struct XsaveComponent {
  unsigned index = 0;
  FeatureBit owner;
  std::uint32_t size = 0;    // bytes
  std::uint32_t offset = 0;  // 0 for supervisor components
  bool supervisor = false;   // in IA32_XSS rather than XCR0
  std::uint32_t flags = 0;   // CPUID.D.n:ECX
};

/// Components 2 and up; x87 and SSE are always there.
std::span<const XsaveComponent> xsave_components();

/// XCR0 and IA32_XSS bits that SET brings; both 0 without xsave.
std::uint64_t xcr0_of(const FeatureSet& set);
std::uint64_t xss_of(const FeatureSet& set);

}  // namespace doppel::x86
