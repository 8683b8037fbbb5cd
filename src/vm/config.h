// VmConfig: everything that makes one machine, as plain data. Every front door (QEMU's options, JSON, QMP) fills one,
// and building the machine reads only this. Prints to and reads from JSON (config_json.h).
//
// Defaults here are the defaults of the command line. Text that names a thing (a CPU model, a device's properties)
// stays text until the part that knows the thing reads it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "chardev/config.h"
#include "memory/ram_block.h"

namespace doppel::vm {

/// key=value pairs in the order given; later ones win.
using KeyValues = std::vector<std::pair<std::string, std::string>>;

/// `-machine` / `-M`. The type is what the user wrote; machine_types.h knows which there are.
struct MachineConfig {
  std::string type = "pc";
  KeyValues properties;  // checked against the machine's property table
};

/// `-accel`: tried in order, the first that works is taken. Empty: the best this host has.
struct AccelConfig {
  std::string name;  // "kvm", "soft"
  KeyValues properties;
};

/// `-smp`. Zero: to be derived from the others, as QEMU 6.2 and later do (cores before sockets).
struct SmpConfig {
  unsigned cpus = 0;
  unsigned maxcpus = 0;
  unsigned sockets = 0;
  unsigned dies = 0;
  unsigned cores = 0;
  unsigned threads = 0;
};

/// `-m`, `-mem-path`, `-mem-prealloc`. Sizes in bytes.
struct MemoryConfig {
  std::uint64_t size = 128ULL << 20U;
  unsigned slots = 0;
  std::uint64_t maxmem = 0;
  std::string path;
  bool prealloc = false;
};

/// `-object memory-backend-{ram,file,memfd}`. The name in OPTIONS is the object's id.
struct MemoryBackendConfig {
  std::string id;
  memory::RamOptions options;
};

/// `-numa node`: the memory is MEMDEV's, or SIZE bytes of the machine's own.
struct NumaNodeConfig {
  unsigned id = 0;
  std::vector<unsigned> cpus;
  std::string memdev;
  std::uint64_t size = 0;
};

/// `-numa dist,src=,dst=,val=`: relative latency, 10 is local.
struct NumaDistanceConfig {
  unsigned source = 0;
  unsigned destination = 0;
  std::uint8_t value = 10;
};

struct NumaConfig {
  std::vector<NumaNodeConfig> nodes;
  std::vector<NumaDistanceConfig> distances;
};

/// `-kernel`, `-bios`, `-L`, `-boot` and their kin. Paths on the host.
struct BootConfig {
  std::string kernel;
  std::string initrd;
  std::string append;
  std::string bios;
  std::vector<std::string> firmware_directories;
  std::string order = "cad";
  std::string once;
  bool menu = false;
  unsigned splash_time_ms = 0;
  int reboot_timeout_ms = -1;
  bool strict = false;
};

/// What `-drive` says of an image; the device that uses it names ID. An id is one drive's, and a drive one device's.
struct DriveConfig {
  std::string id{};
  std::string file{};    // a path, or PROTOCOL:PATH
  std::string format{};  // empty: by the image's first bytes
  std::string cache = "writeback";
  bool read_only = false;
  bool snapshot = false;               // the image stays as it is
  bool discard = false;                // what the guest discards becomes free on the host
  std::string write_error = "enospc";  // werror=: report, ignore, stop, or stop where the host has no space left
  std::string read_error = "report";   // rerror=: the same for reading
  KeyValues options{};                 // of the image's nodes ("file.driver"), "throttling.*", "aio"...
};

/// `-blockdev`: a node's options by dotted names. Nodes are opened in their order; devices name a node-name like a
/// drive.
struct NodeConfig {
  KeyValues options;
};

/// `-object` of the types that nodes refer to: secret and throttle-group.
struct BlockObjectConfig {
  std::string type;
  std::string id;
  KeyValues options;
};

/// `-object iothread`: a thread that works on the disks of devices with iothread=ID.
struct IoThreadConfig {
  std::string id;
  unsigned workers = 0;  // thread-pool-max: helpers for host calls that block; 0: as many as the main thread has
};

/// `-device DRIVER,key=value` or its JSON. `id`, `bus` and `addr` are among the properties.
struct DeviceConfig {
  std::string driver;
  KeyValues properties;
};

/// `-global DRIVER.PROPERTY=VALUE`.
struct GlobalConfig {
  std::string driver;
  std::string property;
  std::string value;
};

/// `-fw_cfg name=,file=` or `string=`.
struct FwCfgFileConfig {
  std::string name;
  std::string file;
  std::string text;
};

/// The texts of `-smbios` and `-acpitable`, one per option given.
struct TablesConfig {
  std::vector<std::string> smbios;
  std::vector<std::string> acpi;
};

/// `-rtc`.
struct RtcConfig {
  std::string base = "utc";    // "utc", "localtime" or "2026-11-21T12:00:00"
  std::string clock = "host";  // "host", "rt" or "vm"
  bool slew = false;           // driftfix=slew
};

/// `-action`, `-no-reboot`, `-no-shutdown`.
enum class RebootAction : std::uint8_t { kReset, kShutdown };
enum class ShutdownAction : std::uint8_t { kPowerOff, kPause };
enum class PanicAction : std::uint8_t { kShutdown, kExitFailure, kPause, kNone };

struct ActionConfig {
  RebootAction reboot = RebootAction::kReset;
  ShutdownAction shutdown = ShutdownAction::kPowerOff;
  PanicAction panic = PanicAction::kShutdown;
  std::string watchdog = "reset";
};

/// The sleep states offered to the guest; QEMU spells it `-global PIIX4_PM.disable_s3=1`.
struct SleepConfig {
  bool s3 = true;
  bool s4 = true;
};

/// `-display`: how the user sees the machine's screen.
enum class DisplayKind : std::uint8_t { kNone, kCurses };

struct DisplayConfig {
  DisplayKind kind = DisplayKind::kNone;
};

/// `-perfmap`, `-jitdump`: what `perf` is told about generated code.
struct ProfileConfig {
  bool perf_map = false;
  bool jit_dump = false;
};

/// What the process does besides being a machine.
struct ProcessConfig {
  std::string name;
  bool debug_threads = true;  // name the threads
  bool start_paused = false;  // -S
  std::string gdb;            // a chardev for the gdbstub, such as "tcp::1234"; empty: none
  std::string pid_file;
  bool daemonize = false;
};

struct VmConfig {
  MachineConfig machine;
  std::vector<AccelConfig> accelerators;
  std::string cpu;  // `-cpu` text; empty: the machine's default model
  SmpConfig smp;
  MemoryConfig memory;
  std::vector<MemoryBackendConfig> memory_backends;
  NumaConfig numa;
  BootConfig boot;
  std::string uuid;

  std::vector<chardev::ChardevConfig> chardevs;
  std::vector<std::string> serial;  // the chardev id behind each port; "" leaves the port out
  bool default_devices = true;      // false: -nodefaults
  std::vector<BlockObjectConfig> block_objects;
  std::vector<IoThreadConfig> iothreads;
  std::vector<NodeConfig> nodes;
  std::vector<DriveConfig> drives;
  std::vector<DeviceConfig> devices;
  std::vector<GlobalConfig> globals;

  std::vector<FwCfgFileConfig> fw_cfg;
  TablesConfig tables;
  RtcConfig rtc;
  SleepConfig sleep;
  ActionConfig action;
  DisplayConfig display;
  ProfileConfig profile;
  ProcessConfig process;
};

}  // namespace doppel::vm
