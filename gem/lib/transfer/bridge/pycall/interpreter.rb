# frozen_string_literal: true

require "fiddle"
require "open3"

module Transfer
  module Bridge
    module PyCall
      # The Python in this process: loaded once, until the process ends. One thread owns it and executes Ruby's
      # requests, which only start threads of Python; these compute.
      class Interpreter
        class << self
          # @param python [String] the interpreter whose library and packages are loaded
          # @return [Interpreter] the one of this process
          # @raise [ConfigurationError, DependencyError]
          def load(python)
            MUTEX.synchronize do
              Preconditions.check_other_python unless @loaded
              interpreter = @loaded || new(python)
              @loaded = interpreter if interpreter.started?
              interpreter.check(python)
            end
          end
        end

        MUTEX = Mutex.new
        private_constant :MUTEX

        def initialize(python)
          @python = python
          @jobs = Queue.new
          started = Queue.new
          Thread.new { own(started) }.name = "transfer-python"
          @failure = started.pop
        end

        # @return [Boolean] true if Python was loaded, even if it can't be used: it can't be unloaded
        def started? = !@gil.nil?

        # @return [self]
        # @raise [ConfigurationError, DependencyError] if it could not be loaded, or if another one than `python` is
        def check(python)
          raise @failure if @failure
          return self if python == @python

          raise ConfigurationError, "#{@python} is loaded in this process and can't be exchanged for #{python}. " \
                                    "Fix: start another process, or #{Preconditions::ALTERNATIVE}"
        end

        # Serves a socket from threads of Python, and returns immediately.
        # @param ios [Array<IO>] the worker's end of the socket, two files of shared memory, a pipe to close at the end
        # @param settings [Hash{Symbol => String, nil}] environment variables
        # @raise [ConfigurationError]
        def serve(ios, settings) = run { @core.serve(*ios.map(&:fileno), **settings) }

        private

        def run(&job)
          outcome = Queue.new
          @jobs << [job, outcome]
          error = outcome.pop
          raise error if error
        end

        def own(started)
          started << failure_of { start }
          while @gil && (job, outcome = @jobs.pop)
            outcome << @gil.hold { failure_of(&job) } # the message of an error comes from Python
          end
        end

        # @return [Error, nil]
        def failure_of
          yield
          nil
        rescue Error => error
          error
        rescue StandardError, ScriptError => error
          unusable(error)
        end

        def unusable(error)
          ConfigurationError.new(
            "can't use #{@python} in this process (#{error.message}). Fix: #{Preconditions::ALTERNATIVE}"
          )
        end

        def start
          require_pycall
          with_environment_of_python { load_library }
          @gil = Gil.new(::PyCall::LibPython.handle)
          import
          Process.singleton_class.prepend(ForkHook.around(@gil))
        ensure
          @gil&.release
        end

        def require_pycall
          require "pycall"
        rescue LoadError
          raise DependencyError, "bridge = :pycall needs the gem pycall. Fix: gem install pycall"
        end

        # Python finds a virtual environment by the python3 on the PATH, unless PYTHONHOME is set. PyCall sets it where
        # it is missing.
        def with_environment_of_python
          before = %w[PATH PYTHONHOME].to_h { |name| [name, ENV.fetch(name, nil)] }
          ENV["PATH"] = [File.dirname(@python), before["PATH"]].compact.join(File::PATH_SEPARATOR)
          ENV["PYTHONHOME"] = ""
          yield
        ensure
          ENV.update(before)
        end

        def load_library
          library = ::PyCall::LibPython::Finder.find_libpython(@python)
          expected = Open3.capture2(@python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").first.chomp
          # PyCall returns different objects if it finds no library.
          found = library.is_a?(Fiddle::Handle) && version(library)
          raise ConfigurationError, no_library(expected) unless found == expected

          ::PyCall.init(@python)
        end

        def version(library)
          Fiddle::Function.new(library["Py_GetVersion"], [], Fiddle::TYPE_VOIDP).call.to_s[/\d+\.\d+/]
        end

        def no_library(version)
          "#{@python} has no shared library to load. Fix: install it (Debian: apt-get install libpython#{version}; " \
            "pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install #{version}), or #{Preconditions::ALTERNATIVE}"
        end

        def import
          ::PyCall.sys.path.insert(0, File.join(Python::ROOT, "python"))
          @core = ::PyCall.import_module("transfer_core.worker.embedded")
        rescue ::PyCall::PyError => error
          missing = error.message[/No module named '?(\w+)/, 1]
          raise unusable(error) unless missing

          raise DependencyError, "#{@python} has no module #{missing}. Fix: #{Python.repair_command(@python)}"
        end

        # Wraps every fork of this process from now on.
        module ForkHook
          def self.around(gil)
            Module.new do
              define_method(:_fork) { gil.hold_during_fork { super() } }
              # Returns only in the child.
              define_method(:daemon) { |*arguments| gil.hold_during_fork { super(*arguments) } }
            end
          end
        end
        private_constant :ForkHook
      end

      # Python's global interpreter lock. It is always acquired while Ruby's lock is held: garbage collection does so to
      # free objects of PyCall, and acquiring two locks in opposite orders would deadlock.
      class Gil
        FUNCTIONS = {
          "PyEval_SaveThread" => [[], Fiddle::TYPE_VOIDP],
          "PyGILState_Ensure" => [[], Fiddle::TYPE_INT],
          "PyGILState_Release" => [[Fiddle::TYPE_INT], Fiddle::TYPE_VOID],
          "PyOS_BeforeFork" => [[], Fiddle::TYPE_VOID], "PyOS_AfterFork_Parent" => [[], Fiddle::TYPE_VOID],
          "PyOS_AfterFork_Child" => [[], Fiddle::TYPE_VOID]
        }.freeze
        private_constant :FUNCTIONS

        # @param library [Fiddle::Handle] libpython
        def initialize(library)
          @functions = FUNCTIONS.to_h do |name, (arguments, result)|
            [name, Fiddle::Function.new(library[name], arguments, result, need_gvl: true)]
          end
        end

        # To be called once, by the thread that initialised Python, and holds the lock since then.
        def release = call("PyEval_SaveThread")

        # Yields while holding the lock.
        def hold
          state = call("PyGILState_Ensure")
          yield
        ensure
          call("PyGILState_Release", state) if state
        end

        # A child that is forked while a thread computes would inherit a lock that no thread releases, and need it at
        # its end, when its objects are freed.
        # @yieldreturn [Integer] 0 in the child
        def hold_during_fork
          state = call("PyGILState_Ensure")
          call("PyOS_BeforeFork")
          pid = yield
        ensure
          pid&.zero? ? continue_in_child : continue_in_parent(state)
        end

        private

        def continue_in_parent(state)
          call("PyOS_AfterFork_Parent")
          call("PyGILState_Release", state)
        end

        # PyGILState_Release would free the only remaining thread state, and CPython 3.11 can't make another.
        def continue_in_child
          call("PyOS_AfterFork_Child")
          call("PyEval_SaveThread")
        end

        def call(name, *arguments) = @functions.fetch(name).call(*arguments)
      end
    end
  end
end
