# frozen_string_literal: true

module Transfer
  # State of a training: the step it is in, `done` of `total` in that step, and the `share` of the whole training, 0 to
  # 1, with the `seconds_left` (nil while unknown).
  Progress = ::Data.define(:step, :title, :done, :total, :unit, :epoch, :epochs, :metrics, :share, :seconds_left) do
    # @return [Progress] before anything was heard
    def self.none = new(**members.to_h { |member| [member, nil] }, share: 0.0)

    # @param event [Event::Stage, Event::Progress, Event::Epoch, Event::Overall, Event::Warning]
    # @return [Progress] the state after it
    def after(event)
      case event
      when Event::Stage then self.class.none.with(step: event.step, title: event.title, share:, seconds_left:)
      when Event::Overall then with(share: event.share, seconds_left: event.seconds_left)
      when Event::Progress then with(step: event.step, done: event.done, total: event.total, unit: event.unit)
      when Event::Epoch then with(step: event.step, epoch: event.number, epochs: event.of, metrics: event.metrics)
      else self
      end
    end

    # @return [Float, nil] the share of the step that is done, 0 to 1
    def fraction
      return epoch.fdiv(epochs) if epochs&.positive?

      done.fdiv(total) if total&.positive?
    end

    def inspect
      counted = epochs ? "epoch #{epoch}/#{epochs}" : ("#{done}/#{total} #{unit}" if total)
      "#<#{self.class} #{[title || step || 'not started', counted].compact.join(', ')}>"
    end
    alias_method :to_s, :inspect
  end
end
