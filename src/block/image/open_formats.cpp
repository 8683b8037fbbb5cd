#include "block/image/open_formats.h"

#include "block/qed/image.h"
#include "block/vdi/image.h"
#include "block/vhdx/image.h"
#include "block/vmdk/image.h"
#include "block/vpc/image.h"

namespace doppel::block {
namespace {

Task<Result<NodePtr>> open_qed(Context& context, NodePtr file, const ImageOptions& options,
                               const OpenBacking& open_backing) {
  DOPPEL_CO_ASSIGN(std::unique_ptr<qed::Image> image, co_await qed::Image::open(context, std::move(file)));
  const NodeInfo info = image->info();
  if (!info.backing_file.empty() && options.backing != Backing::kNone) {
    DOPPEL_CO_ASSIGN(NodePtr backing, co_await open_backing(info.backing_file, info.backing_format));
    image->set_backing(std::move(backing));
  }
  co_return NodePtr(std::move(image));
}

/// Extents are files, never anything behind a protocol.
Result<NodePtr> open_extent(Context& context, const ImageOptions& options, const std::string& name,
                            vmdk::Access access) {
  FileOptions file = options.file;
  if (access == vmdk::Access::kReadOnly) file.writable = false;
  const bool relative = name.front() != '/';
  const std::size_t slash = options.filename.rfind('/');
  const bool elsewhere = relative && slash != std::string::npos;
  return FileNode::open(context, elsewhere ? options.filename.substr(0, slash + 1) + name : name, file);
}

Task<Result<NodePtr>> open_vmdk(Context& context, NodePtr file, const ImageOptions& options,
                                const OpenBacking& open_backing) {
  const vmdk::OpenFile open_file = [&](const std::string& name, vmdk::Access access) {
    return open_extent(context, options, name, access);
  };
  DOPPEL_CO_ASSIGN(std::unique_ptr<vmdk::Image> image, co_await vmdk::Image::open(context, std::move(file), open_file));
  const NodeInfo info = image->info();
  if (!info.backing_file.empty() && options.backing != Backing::kNone) {
    DOPPEL_CO_ASSIGN(NodePtr backing, co_await open_backing(info.backing_file, info.backing_format));
    DOPPEL_CO_TRY(image->set_backing(std::move(backing)));
  }
  co_return NodePtr(std::move(image));
}

}  // namespace

Task<Result<NodePtr>> open_format(Context& context, NodePtr file, const ImageOptions& options,
                                  const OpenBacking& open_backing) {
  if (options.format == "qed") co_return co_await open_qed(context, std::move(file), options, open_backing);
  if (options.format == "vmdk") co_return co_await open_vmdk(context, std::move(file), options, open_backing);
  if (options.format == "vpc") co_return co_await vpc::open(context, std::move(file));
  if (options.format == "vdi") {
    DOPPEL_CO_ASSIGN(std::unique_ptr<vdi::Image> image, co_await vdi::Image::open(context, std::move(file)));
    co_return NodePtr(std::move(image));
  }
  DOPPEL_CO_ASSIGN(std::unique_ptr<vhdx::Image> image, co_await vhdx::Image::open(context, std::move(file)));
  co_return NodePtr(std::move(image));
}

}  // namespace doppel::block
