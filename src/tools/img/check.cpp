// check: is the image whole? With -r, make it so.
#include <fmt/core.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "block/check.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

using block::CheckResult;
using block::Repair;

constexpr OptionRow kOptions[] = {
    {'f', "", true}, {'r', "", true}, {'T', "", true}, {0, "output", true}, {'q', "", false}, {'U', "", false},
};
// qemu-img's exit statuses.
constexpr int kCorruptions = 2;
constexpr int kLeaks = 3;
constexpr int kNoSuchCheck = 63;

void print_human(const CheckResult& result) {
  if (result.corruptions == 0 && result.leaks == 0) {
    fmt::print("No errors were found on the image.\n");
  } else {
    if (result.corruptions > 0)
      fmt::print(
          "\n{} errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt "
          "it.\n",
          result.corruptions);
    if (result.leaks > 0)
      fmt::print(
          "\n{} leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n",
          result.leaks);
  }
  const auto percent = [&](std::uint64_t part, std::uint64_t whole) {
    return 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  };
  if (result.total_clusters > 0 && result.allocated_clusters > 0)
    fmt::print("{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters\n",
               result.allocated_clusters, result.total_clusters,
               percent(result.allocated_clusters, result.total_clusters),
               percent(result.fragmented_clusters, result.allocated_clusters),
               percent(result.compressed_clusters, result.allocated_clusters));
  if (result.image_end_offset > 0) fmt::print("Image end offset: {}\n", result.image_end_offset);
}

void print_json(const CheckResult& result, const std::string& filename, const std::string& format) {
  nlohmann::ordered_json json{{"filename", filename}, {"format", format}, {"check-errors", 0}};
  const auto tell = [&](const char* name, std::uint64_t value) {
    if (value > 0) json[name] = value;
  };
  tell("image-end-offset", result.image_end_offset);
  tell("corruptions", result.corruptions);
  tell("leaks", result.leaks);
  tell("corruptions-fixed", result.corruptions_fixed);
  tell("leaks-fixed", result.leaks_fixed);
  tell("total-clusters", result.total_clusters);
  tell("allocated-clusters", result.allocated_clusters);
  tell("fragmented-clusters", result.fragmented_clusters);
  tell("compressed-clusters", result.compressed_clusters);
  fmt::print("{}\n", json.dump(4));
}

Result<Repair> parse_repair(const Arguments& arguments) {
  const std::string text = arguments.value_or("r", "");
  if (text.empty()) return Repair::kNone;
  if (text == "leaks") return Repair::kLeaks;
  if (text == "all") return Repair::kAll;
  return fail(ErrorKind::kInvalidArgument, "-r expects 'leaks' or 'all', not '{}'", text);
}

/// With a second look at what was repaired.
Result<CheckResult> check(Session& session, OpenImage& image, Repair repair, bool quiet) {
  DOPPEL_ASSIGN(CheckResult result, session.run(image.checkable()->check(repair)));
  for (const std::string& finding : result.findings) fmt::print(stderr, "{}\n", finding);
  if (result.leaks_fixed == 0 && result.corruptions_fixed == 0) return result;
  if (!quiet) {
    fmt::print(
        "The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    {} corruptions\n\n",
        result.leaks_fixed, result.corruptions_fixed);
    fmt::print("Double checking the fixed image now...\n");
  }
  DOPPEL_ASSIGN(CheckResult again, session.run(image.checkable()->check(Repair::kNone)));
  again.leaks_fixed = result.leaks_fixed;
  again.corruptions_fixed = result.corruptions_fixed;
  return again;
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string filename, only_filename(arguments));
  DOPPEL_ASSIGN(const Repair repair, parse_repair(arguments));
  DOPPEL_ASSIGN(OpenRequest options, image_options(arguments, filename, repair != Repair::kNone, "T"));
  options.backing = block::Backing::kNone;
  options.metadata_only = true;
  options.repairing = repair != Repair::kLeaks;  // also what cannot be used can be looked at
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
  if (image.checkable() == nullptr) {
    fmt::print(stderr, "doppel-img: '{}': images of format {} have nothing to check\n", filename,
               image.node().info().format);
    return kNoSuchCheck;
  }
  const bool json = arguments.value_or("output", "human") == "json";
  const bool quiet = arguments.has("q");
  DOPPEL_ASSIGN(const CheckResult result, check(session, image, repair, quiet || json));
  if (json)
    print_json(result, filename, image.node().info().format);
  else if (!quiet)
    print_human(result);
  DOPPEL_TRY(image.close());
  if (result.corruptions > 0) return kCorruptions;
  return result.leaks > 0 ? kLeaks : 0;
}

}  // namespace

const Command kCheck{"check", "[-q] [-f FMT] [--output=human|json] [-r leaks|all] [-T CACHE] [-U] FILE", kOptions, run};

}  // namespace doppel::img
