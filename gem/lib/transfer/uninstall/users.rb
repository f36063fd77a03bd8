# frozen_string_literal: true

module Transfer
  module Uninstall
    # Processes that use `TRANSFER_HOME`: workers, and trainings in any process.
    module Users
      WORKER = "transfer_core.worker"
      private_constant :WORKER

      class << self
        # @return [Array<Integer>] process ids
        def all = (workers | trainings).sort

        private

        def workers
          processes.filter_map do |pid, command|
            next unless command.include?(WORKER)

            pid if command.first.start_with?("#{Python.environment}/") || home_of(pid) == Python.home
          end
        end

        # @return [Array<Array(Integer, Array<String>)>] ids and command lines
        def processes
          return linux_processes if Dir.exist?("/proc/self")

          `ps -axww -o pid=,command=`.lines.map do |line|
            pid, *command = line.split
            [pid.to_i, command]
          end
        end

        def linux_processes
          Dir.each_child("/proc").grep(/\A\d+\z/).filter_map do |pid|
            [pid.to_i, File.read("/proc/#{pid}/cmdline").split("\0")]
          rescue SystemCallError # ended, or owned by another user
            nil
          end
        end

        # @return [String, nil] the home in the environment of a process; nil if that is unreadable
        def home_of(pid)
          variables = File.binread("/proc/#{pid}/environ").split("\0").to_h { |line| line.split("=", 2) }
          chosen = variables["TRANSFER_HOME"].to_s
          return File.expand_path(chosen, File.readlink("/proc/#{pid}/cwd")) unless chosen.empty?

          data = variables["XDG_DATA_HOME"].to_s
          File.join(data.empty? ? File.join(variables.fetch("HOME"), ".local/share") : data, "transfer")
        rescue SystemCallError, KeyError
          nil
        end

        # The lock file of a run contains the process id.
        def trainings
          Dir.glob(File.join(Python.home, "runs/*/lock")).filter_map do |path|
            File.open(path, File::RDONLY | File::NOFOLLOW) do |lock|
              lock.read.to_i unless lock.flock(File::LOCK_SH | File::LOCK_NB)
            end
          rescue SystemCallError
            nil
          end
        end
      end
    end
  end
end
