# frozen_string_literal: true

require "etc"

module Transfer
  module Bridge
    # How much memory a process has, and whether the kernel took processes down for want of it.
    module Memory
      PAGE_BYTES = Etc.sysconf(Etc::SC_PAGESIZE)

      class << self
        # @return [Integer, nil] bytes in memory, nil if there is no such process
        def resident(pid)
          Integer(File.read("/proc/#{pid}/statm").split[1]) * PAGE_BYTES
        rescue Errno::ESRCH
          nil
        rescue SystemCallError
          resident_elsewhere(pid)
        end

        # @return [Integer, nil] how many processes of this control group were ended for want of memory so far
        def kills
          folder = File.read("/proc/self/cgroup")[/^0::(.+)$/, 1] or return
          File.read(File.join("/sys/fs/cgroup", folder, "memory.events"))[/^oom_kill (\d+)$/, 1]&.to_i
        rescue SystemCallError
          nil
        end

        private

        def resident_elsewhere(pid)
          return if File.directory?("/proc/self") # the process is gone

          kibibytes = IO.popen(["ps", "-o", "rss=", "-p", pid.to_s], &:read)
          kibibytes.strip.empty? ? nil : Integer(kibibytes) * 1024
        end
      end
    end
  end
end
