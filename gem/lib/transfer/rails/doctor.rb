# frozen_string_literal: true

module Transfer
  module Rails
    # Checks of `bin/rails transfer:doctor`: those of `transfer doctor`, and the application's.
    module Doctor
      class << self
        # Prints a line per check.
        # @return [Boolean] whether all are ok
        def print(out = $stdout)
          checks = [tables, storage, jobs, python]
          checks.each { |ok, name, text| out.puts "#{ok ? 'ok  ' : 'FAIL'}  #{name.ljust(12)} #{text}" }
          checks.all?(&:first)
        end

        private

        def tables
          names = %w[models versions runs examples predictions feedback].map { |name| "transfer_#{name}" }
          missing = names.reject { |name| Record.connection.table_exists?(name) }
          return [true, "tables", "present"] if missing.empty?

          [false, "tables", "missing: #{missing.join(', ')}. Fix: bin/rails generate transfer:install, then db:migrate"]
        rescue ActiveRecord::ActiveRecordError => error
          [false, "tables", error.message]
        end

        def storage
          there = Record.connection.table_exists?("active_storage_blobs")
          [there, "storage", there ? "present" : "no Active Storage. Fix: bin/rails active_storage:install"]
        rescue ActiveRecord::ActiveRecordError => error
          [false, "storage", error.message]
        end

        def jobs
          name = ActiveJob::Base.queue_adapter_name
          return [true, "jobs", name] unless %w[async inline].include?(name) && ::Rails.env.production?

          [false, "jobs", "#{name} loses jobs when the process ends. Fix: Solid Queue, Sidekiq or GoodJob"]
        end

        def python
          [true, "python", Python.command.join(" ")]
        rescue PythonNotFound => error
          [false, "python", error.message]
        end
      end
    end
  end
end
