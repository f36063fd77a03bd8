# frozen_string_literal: true

module Transfer
  # Where a training is: the step it is in, and how much of it is done.
  Progress = ::Data.define(:step, :title, :done, :total, :unit, :epoch, :epochs, :metrics) do
    # @return [Progress] before anything was heard
    def self.none = new(**members.to_h { |member| [member, nil] })

    # @param event [Event::Stage, Event::Progress, Event::Epoch, Event::Warning]
    # @return [Progress] the state after it
    def after(event)
      case event
      when Event::Stage then self.class.none.with(step: event.step, title: event.title)
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
      "#<Transfer::Progress #{[title || step || 'not started', counted].compact.join(', ')}>"
    end
    alias_method :to_s, :inspect
  end
end
