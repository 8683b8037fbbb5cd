#include "block/image/create_image.h"

#include <fcntl.h>

#include "base/bits.h"
#include "base/text.h"
#include "block/file_lock.h"
#include "block/file_node.h"
#include "block/image/create_formats.h"
#include "block/image/graph.h"
#include "block/image/open_image.h"
#include "block/qcow2/create.h"
#include "block/qcow2/image.h"
#include "block/raw_node.h"

namespace doppel::block {
namespace {

constexpr OptionRow kQcow2Options[] = {
    {"backing_file", "<str>", "File name of a base image"},
    {"backing_fmt", "<str>", "Image format of the base image"},
    {"cluster_size", "<size>", "qcow2 cluster size"},
    {"compat", "<str>", "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"compression_type", "<str>", "Compression of clusters: zlib or zstd"},
    {"data_file", "<str>", "File name of an external data file"},
    {"data_file_raw", "<bool (on/off)>", "The external data file must stay valid as a raw image"},
    {"encrypt.format", "<str>", "Encryption: luks"},
    {"encrypt.key-secret", "<str>", "ID of the secret that has the password"},
    {"encrypt.cipher-alg", "<str>", "Name of encryption cipher algorithm"},
    {"encrypt.cipher-mode", "<str>", "Name of encryption cipher mode"},
    {"encrypt.ivgen-alg", "<str>", "Name of IV generator algorithm"},
    {"encrypt.ivgen-hash-alg", "<str>", "Name of IV generator hash algorithm"},
    {"encrypt.hash-alg", "<str>", "Name of encryption hash algorithm"},
    {"encrypt.iter-time", "<num>", "Time to spend in PBKDF in milliseconds"},
    {"extended_l2", "<bool (on/off)>", "Extended L2 tables"},
    {"lazy_refcounts", "<bool (on/off)>", "Postpone refcount updates"},
    {"preallocation", "<str>", "Preallocation mode (allowed values: off, metadata, falloc, full)"},
    {"refcount_bits", "<num>", "Width of a reference count entry in bits"},
    {"size", "<size>", "Virtual disk size"},
};
constexpr OptionRow kLuksOptions[] = {
    {"key-secret", "<str>", "ID of the secret that has the password"},
    {"cipher-alg", "<str>", "Name of encryption cipher algorithm"},
    {"cipher-mode", "<str>", "Name of encryption cipher mode"},
    {"ivgen-alg", "<str>", "Name of IV generator algorithm"},
    {"ivgen-hash-alg", "<str>", "Name of IV generator hash algorithm"},
    {"hash-alg", "<str>", "Name of encryption hash algorithm"},
    {"iter-time", "<num>", "Time to spend in PBKDF in milliseconds"},
    {"size", "<size>", "Virtual disk size"},
};
constexpr OptionRow kRawOptions[] = {
    {"preallocation", "<str>", "Preallocation mode (allowed values: off, falloc, full)"},
    {"size", "<size>", "Virtual disk size"},
};

Result<std::span<const OptionRow>> options_of(std::string_view format) {
  if (format == "qcow2") return kQcow2Options;
  if (format == "raw") return kRawOptions;
  if (format == "luks") return kLuksOptions;
  if (const CreateFormat* other = find_create_format(format)) return other->options;
  NearestName nearest(format);
  for (const std::string_view known : {"qcow2", "raw", "luks"}) nearest.offer(known);
  for (const CreateFormat& other : create_formats()) nearest.offer(other.name);
  return fail(ErrorKind::kUnsupported, "Doppel does not create images of format '{}'{}", format, nearest.suggestion());
}

Result<> check_names(const CreateImage& request) {
  DOPPEL_ASSIGN(const auto rows, options_of(request.format));
  for (const auto& [name, value] : request.options) {
    NearestName nearest(name);
    bool known = false;
    for (const OptionRow& row : rows) {
      known = known || row.name == name;
      nearest.offer(row.name);
    }
    if (!known)
      return fail(ErrorKind::kInvalidArgument, "format '{}' has no option '{}'{}", request.format, name,
                  nearest.suggestion());
  }
  return {};
}

Result<Preallocation> parse_preallocation(const std::string& text) {
  if (text == "off") return Preallocation::kOff;
  if (text == "metadata") return Preallocation::kMetadata;
  if (text == "falloc") return Preallocation::kFalloc;
  if (text == "full") return Preallocation::kFull;
  return fail(ErrorKind::kInvalidArgument, "'{}' is no preallocation mode, only off, metadata, falloc and full are",
              text);
}

Result<LuksOptions> luks_options(const OptionValues& values, const std::string& prefix) {
  constexpr std::uint64_t kMostIterationMs = 1'000'000;
  LuksOptions luks;
  luks.cipher = values.text(prefix + "cipher-alg", luks.cipher);
  luks.mode = values.text(prefix + "cipher-mode", luks.mode);
  luks.numbering = values.text(prefix + "ivgen-alg", luks.mode == "ecb" ? "plain" : luks.numbering);
  luks.numbering_hash = values.text(prefix + "ivgen-hash-alg");
  luks.hash = values.text(prefix + "hash-alg", luks.hash);
  DOPPEL_ASSIGN(luks.iteration_ms, values.size(prefix + "iter-time", luks.iteration_ms));
  if (luks.iteration_ms == 0 || luks.iteration_ms > kMostIterationMs)
    return fail(ErrorKind::kInvalidArgument, "{}iter-time is from 1 to {} milliseconds", prefix, kMostIterationMs);
  DOPPEL_TRY(luks_overhead(luks));
  return luks;
}

Result<qcow2::CreateOptions> qcow2_options(const CreateImage& request) {
  const OptionValues values(request.options);
  qcow2::CreateOptions options;
  options.size = align_up(request.size.value_or(0), 512);
  const std::string compat = values.text("compat", "1.1");
  if (compat != "1.1" && compat != "v3" && compat != "0.10" && compat != "v2")
    return fail(ErrorKind::kInvalidArgument, "compat is 0.10 (or v2) or 1.1 (or v3), not '{}'", compat);
  options.version = compat == "0.10" || compat == "v2" ? 2 : 3;
  const std::string compression = values.text("compression_type", "zlib");
  if (compression != "zlib" && compression != "zstd")
    return fail(ErrorKind::kInvalidArgument, "compression_type is zlib or zstd, not '{}'", compression);
  options.compression = compression == "zstd" ? qcow2::Compression::kZstd : qcow2::Compression::kZlib;
  DOPPEL_ASSIGN(options.extended_l2, values.flag("extended_l2"));
  DOPPEL_ASSIGN(options.lazy_refcounts, values.flag("lazy_refcounts"));
  DOPPEL_ASSIGN(options.data_file_raw, values.flag("data_file_raw"));
  DOPPEL_ASSIGN(options.cluster_size, values.size("cluster_size", 65536));
  DOPPEL_ASSIGN(const std::uint64_t refcount_bits, values.size("refcount_bits", 16));
  options.refcount_bits = static_cast<unsigned>(std::min<std::uint64_t>(refcount_bits, 1000));  // more is refused
  DOPPEL_ASSIGN(options.preallocation, parse_preallocation(values.text("preallocation", "off")));
  options.backing_file = values.text("backing_file");
  options.backing_format = values.text("backing_fmt");
  options.data_file = values.text("data_file");
  const std::string encryption = values.text("encrypt.format");
  if (!encryption.empty() && encryption != "luks")
    return fail(ErrorKind::kUnsupported, "encrypt.format is luks, not '{}'", encryption);
  if (!encryption.empty()) {
    DOPPEL_ASSIGN(options.luks, luks_options(values, "encrypt."));
  }
  DOPPEL_TRY(qcow2::check_options(options));
  return options;
}

Result<SecretBytes> password_of(const CreateImage& request, const std::string& name) {
  const std::string id = OptionValues(request.options).text(name);
  if (id.empty())
    return fail(ErrorKind::kInvalidArgument, "an encrypted image needs its password: {}=ID of a secret", name);
  if (request.graph == nullptr) return fail(ErrorKind::kNotFound, "there is no secret '{}'", id);
  return request.graph->secrets().find(id);
}

Task<Result<>> preallocate(Context& context, NodePtr file, NodePtr data, const qcow2::CreateOptions& options) {
  DOPPEL_CO_ASSIGN(auto image, co_await qcow2::Image::open(context, std::move(file), std::move(data)));
  auto result = co_await image->preallocate(0, options.size, options.preallocation);
  const auto closed = co_await image->close();
  co_return result ? closed : result;
}

Task<Result<>> create_qcow2(Context& context, const CreateImage& request) {
  DOPPEL_CO_ASSIGN(qcow2::CreateOptions options, qcow2_options(request));
  if (options.luks) {
    DOPPEL_CO_ASSIGN(options.password, password_of(request, "encrypt.key-secret"));
  }
  NodePtr data;
  if (!options.data_file.empty()) {
    DOPPEL_CO_ASSIGN(data, create_file(context, beside(request.filename, options.data_file)));
    DOPPEL_CO_TRY(co_await data->resize(options.size, Preallocation::kOff));
  }
  DOPPEL_CO_ASSIGN(NodePtr file, create_file(context, request.filename));
  DOPPEL_CO_TRY(co_await qcow2::create(*file, options));
  // A raw external file is only right with every cluster mapped to its own place.
  const bool map_all = options.preallocation != Preallocation::kOff || options.data_file_raw;
  if (map_all) co_return co_await preallocate(context, std::move(file), std::move(data), options);
  co_return co_await file->close();
}

Task<Result<>> create_luks_image(Context& context, const CreateImage& request) {
  DOPPEL_CO_ASSIGN(const LuksOptions options, luks_options(OptionValues(request.options), ""));
  DOPPEL_CO_ASSIGN(const SecretBytes password, password_of(request, "key-secret"));
  DOPPEL_CO_ASSIGN(NodePtr file, create_file(context, request.filename));
  DOPPEL_CO_ASSIGN(const LuksHeader header, co_await create_luks(*file, 0, options, password));
  const std::uint64_t size = align_up(request.size.value_or(0), 512);
  DOPPEL_CO_TRY(co_await file->resize(header.payload_bytes() + size, Preallocation::kOff));
  co_return co_await file->close();
}

Task<Result<>> create_raw(Context& context, const CreateImage& request) {
  const OptionValues values(request.options);
  DOPPEL_CO_ASSIGN(const Preallocation preallocation, parse_preallocation(values.text("preallocation", "off")));
  DOPPEL_CO_ASSIGN(NodePtr file, create_file(context, request.filename));
  const std::uint64_t size = align_up(request.size.value_or(0), 512);
  DOPPEL_CO_TRY(co_await file->resize(size, preallocation));
  co_return co_await file->close();
}

}  // namespace

Result<OptionTexts> parse_options(std::string_view text) {
  OptionTexts options;
  std::string item;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && (text[i] != ',' || (i + 1 < text.size() && text[i + 1] == ','))) {
      item += text[i];
      if (text[i] == ',') ++i;
      continue;
    }
    const std::size_t equals = item.find('=');
    if (equals == 0 || (equals == std::string::npos && !item.empty() && item != "help" && item != "?"))
      return fail(ErrorKind::kInvalidArgument, "'{}' is not of the form name=value", item);
    if (!item.empty()) options[item.substr(0, equals)] = equals == std::string::npos ? "" : item.substr(equals + 1);
    item.clear();
  }
  return options;
}

Result<std::string> describe_options(std::string_view format) {
  DOPPEL_ASSIGN(const auto rows, options_of(format));
  std::string text = fmt::format("Supported {} options:\n", format);
  for (const OptionRow& row : rows)
    text += fmt::format("  {:<23}- {}\n", fmt::format("{}={}", row.name, row.type), row.help);
  return text;
}

Result<std::string> describe_creation(const CreateImage& request) {
  const OptionValues values(request.options);
  std::string text;
  const auto tell = [&](std::string_view name) {
    if (request.options.contains(name)) text += fmt::format(" {}={}", name, values.text(name));
  };
  const std::uint64_t size = request.size.value_or(0);
  if (const CreateFormat* other = find_create_format(request.format)) {
    DOPPEL_ASSIGN(const std::string rest, other->describe(request));
    return fmt::format(" size={}{}", size, rest);
  }
  if (request.format != "qcow2") {
    text = fmt::format(" size={}", size);
    tell("preallocation");
    for (const OptionRow& row : kLuksOptions)
      if (request.format == "luks" && row.name != "size") tell(row.name);
    return text;
  }
  DOPPEL_ASSIGN(const qcow2::CreateOptions options, qcow2_options(request));
  text = fmt::format(" cluster_size={} extended_l2={}", options.cluster_size, options.extended_l2 ? "on" : "off");
  tell("preallocation");
  text += fmt::format(" compression_type={} size={}", values.text("compression_type", "zlib"), size);
  for (const std::string_view name :
       {"encrypt.format", "encrypt.key-secret", "compat", "backing_file", "backing_fmt", "data_file", "data_file_raw"})
    tell(name);
  text +=
      fmt::format(" lazy_refcounts={} refcount_bits={}", options.lazy_refcounts ? "on" : "off", options.refcount_bits);
  return text;
}

Result<std::uint64_t> luks_header_size(const CreateImage& request) {
  const OptionValues values(request.options);
  if (request.format == "luks") {
    DOPPEL_ASSIGN(const LuksOptions luks, luks_options(values, ""));
    return luks_overhead(luks);
  }
  if (request.format != "qcow2") return std::uint64_t{0};
  DOPPEL_ASSIGN(const qcow2::CreateOptions options, qcow2_options(request));
  return options.luks ? luks_overhead(*options.luks) : Result<std::uint64_t>(0);
}

Task<Result<>> complete_request(Context& context, CreateImage& request) {
  DOPPEL_CO_TRY(check_names(request));
  const OptionValues values(request.options);
  if (!request.size && request.options.contains("size")) {
    DOPPEL_CO_ASSIGN(request.size, values.size("size", 0));
  }
  request.options.erase("size");
  const std::string backing = values.text("backing_file");
  if (!backing.empty()) {
    if (values.text("backing_fmt").empty())
      co_return fail(ErrorKind::kInvalidArgument, "the backing file '{}' needs its format said: -F raw or -F qcow2",
                     backing);
    if (backing == request.filename)
      co_return fail(ErrorKind::kInvalidArgument, "an image cannot be its own backing file");
    if (request.check_backing) {
      ImageOptions base{.filename = beside(request.filename, backing), .format = values.text("backing_fmt")};
      base.file.locking = FileLocking::kOff;  // only looked at
      auto opened = co_await open_image(context, std::move(base));
      if (!opened) co_return std::unexpected(std::move(opened).error().wrap("the backing file cannot be used"));
      if (!request.size) request.size = (*opened)->size();
      (void)co_await (*opened)->close();
    }
  }
  if (!request.size) co_return fail(ErrorKind::kInvalidArgument, "the size of the new image is missing");
  if (*request.size > std::uint64_t{1} << 62)
    co_return fail(ErrorKind::kInvalidArgument, "{} bytes are more than any image can have", *request.size);
  co_return Result<>{};
}

Task<Result<>> create_image(Context& context, CreateImage request) {
  DOPPEL_CO_TRY(co_await complete_request(context, request));
  if (request.format == "qcow2") co_return co_await create_qcow2(context, request);
  if (request.format == "luks") co_return co_await create_luks_image(context, request);
  if (const CreateFormat* other = find_create_format(request.format))
    co_return co_await other->create(context, request);
  co_return co_await create_raw(context, request);
}

Result<NodePtr> create_file(Context& context, const std::string& filename) {
  if (is_remote(filename))
    return fail(ErrorKind::kUnsupported, "'{}' is on a server, which must have it already: convert with -n", filename);
  const std::string path = filename.starts_with("file:") ? filename.substr(5) : filename;
  // Not O_TRUNC: who has it open, and locked, must not lose it.
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd.valid()) return fail_errno("cannot create '{}'", path);
  DOPPEL_TRY(lock_file(fd.get(), path, image_permissions(true)));
  if (::ftruncate(fd.get(), 0) != 0 && errno != EINVAL)
    return fail_errno("cannot empty '{}'", path);  // EINVAL: a device
  return FileNode::adopt(context, std::move(fd), path, {.writable = true});
}

}  // namespace doppel::block
