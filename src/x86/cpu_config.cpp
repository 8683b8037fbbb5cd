// The grammar of -cpu.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <variant>

#include "base/text.h"
#include "x86/cpu_model.h"

namespace doppel::x86 {
namespace {

using Flag = bool CpuConfig::*;
using OptionalFlag = std::optional<bool> CpuConfig::*;
using Number32 = std::optional<std::uint32_t> CpuConfig::*;
using Number64 = std::optional<std::uint64_t> CpuConfig::*;
using Text = std::optional<std::string> CpuConfig::*;

/// A "name=value" that is no feature. LEAST and MOST bound a number or a text's length.
struct Property {
  std::string_view name;
  std::variant<Flag, OptionalFlag, Number32, Number64, Text> target;
  std::uint64_t least = 0;
  std::uint64_t most = 0;
};

constexpr std::uint64_t kAny32 = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kExtendedBase = 0x80000000;

constexpr auto kProperties = std::to_array<Property>({
    {"check", &CpuConfig::check},
    {"cpuid-0xb", &CpuConfig::cpuid_0xb},
    {"enforce", &CpuConfig::enforce},
    {"family", &CpuConfig::family, 0, 0xff + 0xf},
    {"full-cpuid-auto-level", &CpuConfig::full_cpuid_auto_level},
    {"host-cache-info", &CpuConfig::host_cache_info},
    {"host-phys-bits", &CpuConfig::host_phys_bits},
    {"host-phys-bits-limit", &CpuConfig::host_phys_bits_limit, 0, 52},
    {"kvm", &CpuConfig::kvm},
    {"l3-cache", &CpuConfig::l3_cache},
    {"legacy-cache", &CpuConfig::legacy_cache},
    {"level", &CpuConfig::level, 0, kAny32},
    {"level-func7", &CpuConfig::level_func7, 0, kAny32},
    {"migratable", &CpuConfig::migratable},
    {"min-level", &CpuConfig::min_level, 0, kAny32},
    {"min-xlevel", &CpuConfig::min_xlevel, 0, kAny32},
    {"model", &CpuConfig::model_number, 0, 0xff},
    {"model-id", &CpuConfig::model_id, 0, 48},
    {"phys-bits", &CpuConfig::phys_bits, 0, 52},
    {"pmu", &CpuConfig::pmu},
    {"stepping", &CpuConfig::stepping, 0, 0xf},
    {"tsc-freq", &CpuConfig::tsc_frequency, 0, std::numeric_limits<std::int64_t>::max()},
    {"tsc-frequency", &CpuConfig::tsc_frequency, 0, std::numeric_limits<std::int64_t>::max()},
    {"vendor", &CpuConfig::vendor, 12, 12},
    {"vmware-cpuid-freq", &CpuConfig::vmware_cpuid_freq},
    {"x-force-features", &CpuConfig::force_features},
    {"xlevel", &CpuConfig::xlevel, 0, kAny32},
    {"xlevel2", &CpuConfig::xlevel2, 0, kAny32},
});

/// Taken so that existing command lines go on working, and said to do nothing.
constexpr auto kWithoutEffect = std::to_array<std::string_view>({
    "fill-mtrr-mask",
    "hv-apicv",
    "hv-avic",
    "hv-crash",
    "hv-emsr-bitmap",
    "hv-enforce-cpuid",
    "hv-evmcs",
    "hv-frequencies",
    "hv-ipi",
    "hv-no-nonarch-coresharing",
    "hv-passthrough",
    "hv-reenlightenment",
    "hv-relaxed",
    "hv-reset",
    "hv-runtime",
    "hv-spinlocks",
    "hv-stimer",
    "hv-stimer-direct",
    "hv-syndbg",
    "hv-synic",
    "hv-time",
    "hv-tlbflush",
    "hv-tlbflush-direct",
    "hv-tlbflush-ext",
    "hv-vapic",
    "hv-vendor-id",
    "hv-version-id-build",
    "hv-version-id-major",
    "hv-version-id-minor",
    "hv-version-id-sbranch",
    "hv-version-id-snumber",
    "hv-version-id-spack",
    "hv-vpindex",
    "hv-xmm-input",
    "kvm-no-smi-migration",
    "kvm-pv-enforce-cpuid",
    "lbr-fmt",
    "lmce",
    "min-xlevel2",
    "tcg-cpuid",
    "ucode-rev",
    "x-hv-max-vps",
    "x-hv-synic-kvm-only",
    "x-intel-pt-auto-level",
    "x-migrate-smi-count",
    "x-vendor-cpuid-only",
});

const Property* find_property(std::string_view name) {
  const auto* found = std::ranges::find(kProperties, name, &Property::name);
  return found == kProperties.end() ? nullptr : found;
}

bool is_without_effect(std::string_view name) {
  return std::ranges::find(kWithoutEffect, name) != kWithoutEffect.end();
}

std::unexpected<Error> unknown_feature(std::string_view name) {
  NearestName nearest(name);
  for (const Feature& feature : features()) nearest.offer(feature.name);
  for (const FeatureAlias& alias : feature_aliases()) nearest.offer(alias.alias);
  for (const Property& property : kProperties) nearest.offer(property.name);
  for (const std::string_view other : kWithoutEffect) nearest.offer(other);
  for (const std::string_view control : vmx_control_names()) nearest.offer(control);
  return fail(ErrorKind::kInvalidArgument, "there is no feature or option '{}'{}", name, nearest.suggestion());
}

/// A frequency in Hz: a number with one of K, M and G (powers of 1000).
Result<std::uint64_t> parse_frequency(std::string_view text) {
  std::uint64_t unit = 1;
  const char last = text.empty() ? '\0' : text.back();
  if (last == 'k' || last == 'K') unit = 1000;
  if (last == 'm' || last == 'M') unit = 1000 * 1000;
  if (last == 'g' || last == 'G') unit = 1000 * 1000 * 1000;
  if (unit != 1) text.remove_suffix(1);
  DOPPEL_ASSIGN(const std::uint64_t number, parse_number(text));
  if (number > std::numeric_limits<std::uint64_t>::max() / unit)
    return fail(ErrorKind::kOutOfRange, "'{}' is too large", text);
  return number * unit;
}

Error in_option(std::string_view name, Error error) {
  return std::move(error).wrap(fmt::format("option '{}'", name));
}

Result<std::uint64_t> parse_bounded(const Property& property, std::string_view text) {
  const bool frequency = std::holds_alternative<Number64>(property.target);
  auto number = frequency ? parse_frequency(text) : parse_number(text);
  if (!number) return std::unexpected(in_option(property.name, std::move(number).error()));
  if (*number < property.least || *number > property.most)
    return fail(ErrorKind::kOutOfRange, "option '{}' is {}; it must be from {} to {}", property.name, text,
                property.least, property.most);
  return number;
}

Result<> set_text(CpuConfig& config, const Property& property, Text target, std::string_view value) {
  if (value.size() < property.least)
    return fail(ErrorKind::kInvalidArgument, "option '{}' is '{}'; it must have exactly {} characters", property.name,
                value, property.least);
  if (property.least == property.most && value.size() > property.most)
    return fail(ErrorKind::kInvalidArgument, "option '{}' is '{}'; it must have exactly {} characters", property.name,
                value, property.most);
  config.*target = std::string(value.substr(0, property.most));
  return {};
}

Result<bool> parse_flag(std::string_view name, std::string_view value) {
  auto on = parse_bool(value);
  if (!on) return std::unexpected(in_option(name, std::move(on).error()));
  return on;
}

Result<> set_property(CpuConfig& config, const Property& property, std::string_view value) {
  if (const auto* text = std::get_if<Text>(&property.target)) return set_text(config, property, *text, value);
  if (const auto* flag = std::get_if<Flag>(&property.target)) {
    DOPPEL_ASSIGN(config.**flag, parse_flag(property.name, value));
    return {};
  }
  if (const auto* flag = std::get_if<OptionalFlag>(&property.target)) {
    DOPPEL_ASSIGN(config.**flag, parse_flag(property.name, value));
    return {};
  }
  DOPPEL_ASSIGN(const std::uint64_t number, parse_bounded(property, value));
  if (const auto* wide = std::get_if<Number64>(&property.target))
    config.** wide = number;
  else
    config.*std::get<Number32>(property.target) = static_cast<std::uint32_t>(number);
  return {};
}

/// NAME, on its own or with VALUE, after the model.
Result<> apply_named(CpuConfig& config, std::string_view spelled, std::string_view value) {
  const std::string name = normalize_feature_name(spelled);
  if (const Property* property = find_property(name)) return set_property(config, *property, value);
  if (const Feature* feature = find_feature(name)) {
    DOPPEL_ASSIGN(const bool on, parse_flag(name, value));
    config.features.push_back({std::string(feature->name), on});
    return {};
  }
  if (name.starts_with("hv-") && is_without_effect(name)) {
    config.notes.push_back(fmt::format("the Hyper-V enlightenment '{}' is not supported and has no effect", name));
    return {};
  }
  if (is_vmx_control(name)) {
    config.notes.push_back(fmt::format("'{}' has no effect: nested VMX offers what the accelerator has", name));
    return {};
  }
  if (is_without_effect(name)) {
    config.notes.push_back(fmt::format("the -cpu option '{}' has no effect", name));
    return {};
  }
  return unknown_feature(spelled);
}

Result<> apply_piece(CpuConfig& config, std::string_view piece) {
  if (piece.empty()) return fail(ErrorKind::kInvalidArgument, "there is an empty option between two commas");
  if (piece.front() == '+' || piece.front() == '-')
    return apply_named(config, piece.substr(1), piece.front() == '+' ? "on" : "off");
  const auto equals = piece.find('=');
  if (equals == std::string_view::npos) return apply_named(config, piece, "on");
  return apply_named(config, piece.substr(0, equals), piece.substr(equals + 1));
}

Result<> check_model_name(std::string_view name) {
  const auto is_special = [&](const SpecialModel& special) { return special.name == name; };
  if (find_cpu_model(name) != nullptr || std::ranges::any_of(special_models(), is_special)) return {};
  NearestName nearest(name);
  for (const std::string& known : cpu_model_names()) nearest.offer(known);
  return fail(ErrorKind::kInvalidArgument, "there is no CPU model '{}'{}; '-cpu help' lists them", name,
              nearest.suggestion());
}

}  // namespace

Result<CpuConfig> parse_cpu_option(std::string_view text) {
  const auto pieces = split(text, ',');
  if (pieces.empty() || pieces.front().empty())
    return fail(ErrorKind::kInvalidArgument, "the name of a CPU model comes first; '-cpu help' lists them");
  CpuConfig config;
  config.model = pieces.front();
  DOPPEL_TRY(check_model_name(config.model));
  for (std::size_t i = 1; i < pieces.size(); ++i) DOPPEL_TRY(apply_piece(config, pieces[i]));
  if (config.xlevel && *config.xlevel < kExtendedBase) {
    config.notes.push_back(
        fmt::format("xlevel {:#x} lies below {:#x}, which was added", *config.xlevel, kExtendedBase));
    *config.xlevel |= static_cast<std::uint32_t>(kExtendedBase);
  }
  return config;
}

}  // namespace doppel::x86
