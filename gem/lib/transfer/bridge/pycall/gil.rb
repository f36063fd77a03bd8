# frozen_string_literal: true

require "fiddle"

module Transfer
  module Bridge
    module PyCall
      # Python's lock. Whoever takes it has Ruby's lock in hand and keeps it: a thread that collects garbage does so, to
      # free an object of PyCall, and two locks that are taken in opposite orders end in a deadlock.
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

        # To be called once, by the thread that initialised Python: that left it holding the lock.
        def give_up = call("PyEval_SaveThread")

        # Yields with the lock.
        def hold
          state = call("PyGILState_Ensure")
          yield
        ensure
          call("PyGILState_Release", state) if state
        end

        # A child that forks off while some thread computes would inherit a lock that nobody ever gives back, and need
        # it at its end, when its objects are freed.
        # @yieldreturn [Integer] 0 in the child
        def hold_during_fork
          state = call("PyGILState_Ensure")
          call("PyOS_BeforeFork")
          pid = yield
        ensure
          pid&.zero? ? go_on_in_child : go_on_in_parent(state)
        end

        private

        def go_on_in_parent(state)
          call("PyOS_AfterFork_Parent")
          call("PyGILState_Release", state)
        end

        # Here a release would free the only state of a thread that is left, and CPython 3.11 can't make another.
        def go_on_in_child
          call("PyOS_AfterFork_Child")
          call("PyEval_SaveThread")
        end

        def call(name, *arguments) = @functions.fetch(name).call(*arguments)
      end
    end
  end
end
