// Opens images: from file name and options to a graph of nodes.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "block/context.h"
#include "block/crypto/secret.h"
#include "block/disk.h"
#include "block/file_node.h"
#include "block/node.h"
#include "block/option_texts.h"

namespace doppel::block {

enum class Backing : std::uint8_t { kOpen, kWritable, kNone };

class Graph;

struct ImageOptions {
  std::string filename;  // a path, file:PATH, host_device:PATH, null-co:// or json:{...}
  std::string format{};  // "raw", "qcow2"...; empty: by the image's first bytes
  FileOptions file{};
  Backing backing = Backing::kOpen;  // kNone: what the image has not allocated reads as zeroes
  bool repairing = false;            // opens an image marked corrupt for writing too, and leaves a dirty one as it is
  std::uint64_t raw_offset = 0;      // of format raw
  std::optional<std::uint64_t> raw_size{};  // of format raw
  std::optional<bool> lazy_refcounts{};     // of format qcow2; unset: as the image says
  std::optional<SecretBytes> key{};         // of an encrypted image
  bool metadata_only = false;               // an encrypted image opens without its key, and its data cannot be read
  Graph* graph = nullptr;                   // where the named nodes and secrets are; null: there are none
};

/// The formats there are, by QEMU's names.
std::span<const std::string_view> image_formats();

/// The image with all it stands on. Errors name the file.
Task<Result<NodePtr>> open_image(Context& context, ImageOptions options);

/// The image in FILE, already open, with DATA as its external data file if there is one. OPTIONS tell how; the file
/// name in them is for errors and for what the image names beside itself.
Task<Result<NodePtr>> open_image_in(Context& context, NodePtr file, NodePtr data, ImageOptions options);

/// NAME as IMAGE's header means it: relative names begin where the image is.
std::string beside(const std::string& image, const std::string& name);

/// The lowest node alone: the bytes of the file. Synchronous, as opening a file is.
Result<NodePtr> open_protocol(Context& context, const std::string& filename, FileOptions options);

/// Does a server have FILENAME?
bool is_remote(std::string_view filename);

/// A qcow2 overlay over BASE in a file that has no name, so that it is gone with the process.
Task<Result<NodePtr>> temporary_overlay(Context& context, NodePtr base);
/// aio=: threads, native or io_uring; empty: the best there is.
Result<EngineChoice> parse_engine(std::string_view name);

/// QEMU's cache= modes.
enum class CacheMode : std::uint8_t { kWriteback, kNone, kWritethrough, kDirectsync, kUnsafe };
Result<CacheMode> parse_cache_mode(std::string_view name);
/// The part of a cache mode that is the file's affair.
FileOptions file_options(CacheMode cache, bool writable);

struct DiskOptions {
  std::string filename;
  std::string format{};  // empty: probe
  bool read_only = false;
  bool snapshot = false;  // writes go to a temporary file that nobody sees
  CacheMode cache = CacheMode::kWriteback;
  bool discard = false;  // true: discard=unmap
  FileLocking locking = FileLocking::kOn;
  std::uint64_t raw_offset = 0;
  std::optional<std::uint64_t> raw_size{};
  OptionTexts options{};   // of nodes ("driver", "file.filename"...), "throttling.*", "copy-on-read", "detect-zeroes"
  std::string id{};        // the drive's; its throttle group's name if it names none
  Graph* graph = nullptr;  // as ImageOptions'
};

/// An image for a device. Call on the thread of CONTEXT's loop, while the loop does not run; destroy the disk likewise,
/// before CONTEXT.
Result<std::unique_ptr<Disk>> open_disk(Context& context, const DiskOptions& options);

}  // namespace doppel::block
