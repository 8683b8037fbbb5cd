// measure: how large will a new image's file be?
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/bits.h"
#include "base/text.h"
#include "block/image/create_image.h"
#include "tools/img/bitmaps.h"
#include "tools/img/chain.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true},
    {'O', "", true},
    {'o', "", true},
    {'l', "", true},
    {0, "output", true},
    {0, "size", true},
    {'U', "force-share", false},
};

struct Measures {
  std::uint64_t required = 0;
  std::uint64_t full = 0;
  std::optional<std::uint64_t> bitmaps{};  // what those of the source would take on top; unset: none can be copied
};

std::uint64_t divide_up(std::uint64_t a, std::uint64_t b) {
  return (a + b - 1) / b;
}

/// What all tables of an image take that has every cluster allocated.
std::uint64_t table_bytes(const block::qcow2::Layout& layout, std::uint64_t size) {
  const std::uint64_t cluster = layout.cluster_size();
  const std::uint64_t data = layout.clusters(size);
  const std::uint64_t l2 = divide_up(data, layout.l2_entries());
  const std::uint64_t others = 1 + l2 + layout.clusters(l2 * 8);
  std::uint64_t blocks = 0;
  std::uint64_t table = 0;
  for (;;) {  // refcount blocks count themselves
    const std::uint64_t need = divide_up(data + others + blocks + table, layout.refcounts_per_block());
    const std::uint64_t need_table = divide_up(need * 8, cluster);
    if (need == blocks && need_table == table) break;
    blocks = need;
    table = need_table;
  }
  return (others + blocks + table) * cluster;
}

/// Bytes of clusters of which some has data.
Result<std::uint64_t> data_bytes(Session& session, block::Node& source, std::uint64_t cluster) {
  std::uint64_t clusters = 0;
  std::uint64_t counted_end = 0;
  for (std::uint64_t offset = 0; offset < source.size();) {
    DOPPEL_ASSIGN(const ChainStatus found, session.run(chain_status(source, nullptr, offset, source.size() - offset)));
    const std::uint64_t end = offset + found.status.bytes;
    if (!found.status.zero && found.status.allocated) {
      const std::uint64_t first = std::max(align_down(offset, cluster), counted_end);
      counted_end = align_up(end, cluster);
      clusters += (counted_end - first) / cluster;
    }
    offset = end;
  }
  return clusters * cluster;
}

Result<std::uint64_t> cluster_size_option(const block::OptionTexts& options) {
  const auto found = options.find("cluster_size");
  return found == options.end() ? Result<std::uint64_t>(65536) : parse_size(found->second);
}

/// Both images must be of version 3.
std::optional<std::uint64_t> measure_bitmaps(const OpenImage* source, const block::CreateImage& request,
                                             std::uint64_t cluster) {
  const auto compat = request.options.find("compat");
  const bool old = compat != request.options.end() && (compat->second == "0.10" || compat->second == "v2");
  if (old || source == nullptr || source->qcow2() == nullptr || source->qcow2()->header().version < 3) return {};
  return bitmaps_size(*source->qcow2(), cluster);
}

Result<Measures> measure(Session& session, const Arguments& arguments, const OpenImage* source, std::uint64_t size) {
  const std::string format = arguments.value_or("O", "raw");
  if (format == "raw") return Measures{size, size};
  if (format != "qcow2" && format != "luks")
    return fail(ErrorKind::kUnsupported, "the size of an image of format '{}' cannot be told beforehand", format);
  block::CreateImage request{.filename = "", .format = format, .size = size};
  DOPPEL_ASSIGN(request.options, block::parse_options(arguments.value_or("o", "")));
  DOPPEL_TRY(block::describe_creation(request));  // says what is wrong with the options
  DOPPEL_ASSIGN(const std::uint64_t luks, block::luks_header_size(request));
  if (format == "luks") return Measures{luks + size, luks + size};
  DOPPEL_ASSIGN(const std::uint64_t cluster, cluster_size_option(request.options));
  block::qcow2::Layout layout{.cluster_bits = static_cast<unsigned>(std::countr_zero(cluster))};
  if (const auto bits = request.options.find("refcount_bits"); bits != request.options.end()) {
    DOPPEL_ASSIGN(const std::uint64_t width, parse_number(bits->second));
    layout.refcount_order = static_cast<unsigned>(std::countr_zero(width));
  }
  if (const auto extended = request.options.find("extended_l2"); extended != request.options.end()) {
    DOPPEL_ASSIGN(layout.extended_l2, parse_bool(extended->second));
  }
  Measures measures;
  const std::uint64_t tables = table_bytes(layout, size) + align_up(luks, cluster);
  measures.bitmaps = measure_bitmaps(source, request, cluster);
  measures.full = tables + align_up(size, cluster);
  measures.required = tables;
  const auto preallocation = request.options.find("preallocation");
  if (preallocation != request.options.end() && (preallocation->second == "falloc" || preallocation->second == "full"))
    measures.required = measures.full;
  else if (source != nullptr) {
    DOPPEL_ASSIGN(const std::uint64_t data, data_bytes(session, source->node(), cluster));
    measures.required += data;
  }
  return measures;
}

Result<int> run(Session& session, const Arguments& arguments) {
  const bool by_size = arguments.has("size");
  if (by_size == (arguments.rest().size() == 1) || arguments.rest().size() > 1)
    return fail(ErrorKind::kInvalidArgument, "expecting either --size or one image file name");
  std::optional<OpenImage> source;
  std::uint64_t size = 0;
  if (by_size) {
    DOPPEL_ASSIGN(size, parse_size(arguments.value_or("size", "")));
    size = align_up(size, 512);
  } else {
    DOPPEL_ASSIGN(const OpenRequest options, image_options(arguments, arguments.rest()[0], false));
    DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
    source.emplace(std::move(image));
    if (const auto snapshot = arguments.value("l")) {
      if (source->qcow2() == nullptr)
        return fail(ErrorKind::kInvalidArgument, "'{}' has no snapshots", arguments.rest()[0]);
      DOPPEL_TRY(session.run(source->qcow2()->view_snapshot(*snapshot)));
    }
    size = source->node().size();
  }
  DOPPEL_ASSIGN(const Measures measures, measure(session, arguments, source ? &*source : nullptr, size));
  if (arguments.value_or("output", "human") == "json") {
    nlohmann::ordered_json json;
    if (measures.bitmaps) json["bitmaps"] = *measures.bitmaps;
    json["required"] = measures.required;
    json["fully-allocated"] = measures.full;
    fmt::print("{}\n", json.dump(4));
  } else {
    fmt::print("required size: {}\nfully allocated size: {}\n", measures.required, measures.full);
    if (measures.bitmaps) fmt::print("bitmaps size: {}\n", *measures.bitmaps);
  }
  return 0;
}

}  // namespace

const Command kMeasure{"measure",
                       "[-f FMT] [-O FMT] [-o OPTIONS] [-l SNAPSHOT] [--output=human|json] [-U] [--size N | FILE]",
                       kOptions, run};

}  // namespace doppel::img
