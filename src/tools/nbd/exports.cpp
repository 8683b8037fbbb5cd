#include "tools/nbd/exports.h"

#include <algorithm>

#include "block/image/drive.h"
#include "block/qcow2/image.h"

namespace doppel::nbd {

using block::NodePtr;

namespace {

/// More would take too much memory; a coarser bitmap has fewer.
constexpr std::size_t kMaxRanges = std::size_t{1} << 22;

struct Opened {
  NodePtr node{};
  std::shared_ptr<const DirtyRanges> bitmap{};
};

Result<std::shared_ptr<const DirtyRanges>> read_bitmap(block::Context& context, block::Node& node,
                                                       const ExportOptions& options) {
  auto* qcow2 = dynamic_cast<block::qcow2::Image*>(&block::without_filters(node));
  if (qcow2 == nullptr) return fail(ErrorKind::kInvalidArgument, "--bitmap: '{}' has no bitmaps", options.filename);
  const auto bitmaps = qcow2->bitmaps();
  const auto found = std::ranges::find(bitmaps, options.bitmap, &block::qcow2::BitmapInfo::name);
  if (found != bitmaps.end() && found->enabled && !node.read_only())
    return fail(ErrorKind::kInvalidArgument,
                "--bitmap: '{}' would record what clients write; serve the image with -r, or disable the bitmap",
                options.bitmap);
  auto dirty = std::make_shared<DirtyRanges>(DirtyRanges{.name = options.bitmap});
  auto& ranges = dirty->ranges;
  bool too_many = false;
  const block::qcow2::Bitmaps::VisitRange add = [&](std::uint64_t offset, std::uint64_t length) {
    if (!ranges.empty() && ranges.back().second == offset)
      ranges.back().second += length;
    else if (ranges.size() < kMaxRanges)
      ranges.emplace_back(offset, offset + length);
    else
      too_many = true;
  };
  if (auto visited = block::run_to_end(context.loop(), qcow2->visit_bitmap(options.bitmap, add)); !visited)
    return std::unexpected(std::move(visited).error().wrap(fmt::format("--bitmap: '{}'", options.filename)));
  if (too_many)
    return fail(ErrorKind::kUnsupported, "--bitmap: '{}' has more than {} dirty ranges", options.bitmap, kMaxRanges);
  return dirty;
}

block::Task<Result<NodePtr>> open_image(block::Graph& graph, const ExportOptions& options) {
  const bool writable = !options.read_only && !options.snapshot && options.internal_snapshot.empty();
  const block::FileOptions file = block::file_options(options.cache, writable);
  if (options.nodes)
    co_return co_await graph.open(*options.nodes, {.file = file, .unmap = options.discard}, options.filename);
  const block::ImageOptions image{.filename = options.filename,
                                  .format = options.format,
                                  .file = file,
                                  .raw_offset = options.offset,
                                  .graph = &graph};
  co_return co_await block::open_image(graph.context(), image);
}

Result<Opened> open_node(block::Graph& graph, const ExportOptions& options) {
  block::Context& context = graph.context();
  Opened opened;
  NodePtr& node = opened.node;
  DOPPEL_ASSIGN(node, block::run_to_end(context.loop(), open_image(graph, options)));
  if (!options.bitmap.empty()) {
    auto bitmap = read_bitmap(context, *node, options);
    if (!bitmap) {
      (void)block::run_to_end(context.loop(), node->close());
      return std::unexpected(std::move(bitmap).error());
    }
    opened.bitmap = std::move(*bitmap);
  }
  if (!options.internal_snapshot.empty()) {
    auto* qcow2 = dynamic_cast<block::qcow2::Image*>(&block::without_filters(*node));
    if (qcow2 == nullptr)
      return fail(ErrorKind::kInvalidArgument, "--load-snapshot: '{}' has no snapshots", options.filename);
    DOPPEL_TRY(block::run_to_end(context.loop(), qcow2->view_snapshot(options.internal_snapshot)));
  }
  if (options.snapshot && !options.read_only) {
    DOPPEL_ASSIGN(node, block::run_to_end(context.loop(), block::temporary_overlay(context, std::move(node))));
  }
  const block::DiskOptions filters{
      .filename = {}, .discard = options.discard, .options = {{"detect-zeroes", options.detect_zeroes}}};
  DOPPEL_ASSIGN(node, block::add_drive_filters(filters, std::move(node)));
  return opened;
}

}  // namespace

Result<OpenExports> OpenExports::open(block::Context& context, const Options& options) {
  OpenExports opened;
  opened.graph_ = std::make_unique<block::Graph>(context);
  for (const ImageObject& object : options.objects)
    DOPPEL_TRY(opened.graph_->add_object(object.type, object.id, object.options));
  for (const ExportOptions& one : options.exports) {
    auto image = open_node(*opened.graph_, one);
    if (!image) {
      (void)opened.close(context);
      return std::unexpected(std::move(image).error());
    }
    NodePtr& node = image->node;
    opened.exports_.push_back(
        {.name = one.name,
         .description = one.description,
         .node = node.get(),
         .read_only = node->read_only() || one.read_only || !one.internal_snapshot.empty(),
         .write_through = one.cache == block::CacheMode::kWritethrough || one.cache == block::CacheMode::kDirectsync,
         .discard = one.discard,
         .allocation_depth = one.allocation_depth,
         .bitmap = std::move(image->bitmap)});
    opened.nodes_.push_back(std::move(node));
  }
  return opened;
}

void OpenExports::let_many_clients(bool many) {
  for (Export& disk : exports_) disk.many_clients = many;
}

Result<> OpenExports::close(block::Context& context) {
  Result<> all;
  for (const NodePtr& node : nodes_) {
    auto closed = block::run_to_end(context.loop(), node->close());
    if (!closed && all) all = std::move(closed);
  }
  nodes_.clear();
  return all;
}

}  // namespace doppel::nbd
