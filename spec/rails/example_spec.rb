# frozen_string_literal: true

require_relative "shell"

# examples/rails, from the import to a page with predictions.
RSpec.describe "examples/rails" do
  include Shell

  root = File.expand_path("../..", __dir__)

  it "sorts photos" do
    Dir.mktmpdir do |folder|
      app = File.join(folder, "rails")
      FileUtils.cp_r(File.join(root, "examples/rails"), app)
      gemfile = File.join(app, "Gemfile")
      File.write(gemfile, File.read(gemfile).sub('path: "../.."', "path: #{root.inspect}"))
      FileUtils.mkdir_p(File.join(app, "storage"))
      photo_folder(File.join(folder, "photos"), count: 6, colors: Photos::COLORS.first(2).to_h)
      sh("bin/rails db:prepare", app)
      expect(sh(%(bin/rails "photos:import[#{folder}/photos]"), app)).to include("12 photos")
      page = sh(<<~SHELL, app)
        bin/rails runner '
          ActiveJob::Base.queue_adapter = :inline
          Photo.train_prediction(:kind)
          Photo.predict_all(:kind)
          response = Rack::MockRequest.new(Rails.application).get("/", "HTTP_HOST" => "localhost")
          puts response.status, response.body
        '
      SHELL
      expect(page).to start_with("200").and include("red").and include("green")
      expect(page.scan("<li>").size).to eq(12)
    end
  end
end
