# frozen_string_literal: true

namespace :transfer do
  desc "Check Python, packages, weights and the database for transfer-rb"
  task doctor: :environment do
    exit 1 unless Transfer::Rails::Doctor.print
  end

  desc "Install Python packages for transfer-rb (as the command: transfer setup)"
  task :setup do
    require "transfer"
    puts Transfer.setup
  end

  desc "Enqueue trainings again whose process has died"
  task requeue: :environment do
    Transfer::Rails::Run.requeue_lost.each { |run| puts "run #{run.id} is enqueued again" }
  end
end
